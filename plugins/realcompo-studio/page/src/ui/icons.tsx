// Line icons on a 20 × 20 grid; decoration only, so that no reader says them: what they stand in has its own words.
const PATHS = {
  box: 'M4 4h12v12H4z',
  person: 'M10 4.2a1.6 1.6 0 1 0 .01 0M10 8v5M6 9.5h8M10 13l-2.5 4M10 13l2.5 4',
  brush: 'M4 16c2.5 0 3.5-1 3.5-2.6M16.5 3.5 8 12l1.8 1.8 6.7-8.6z',
  eraser: 'm4 13 7.5-7.5 4 4L9 16H6.5zM9 16h7',
  polygon: 'M4 7.5 10 3l6 4.5-2.3 8H6.3z',
  fill: 'm9 3 6.5 6.5-6 6L3.5 9.6zM17 12.5c1 1.5 1 3 0 3s-1-1.5 0-3z',
  undo: 'M7 5 3.5 8.5 7 12M4 8.5h7.5a4 4 0 0 1 0 8H8',
  redo: 'M13 5l3.500 3.500-3.500 3.500M16 8.500H8.500a4 4 0 0 0 0 8H12',
  lock: 'M6 9V7a4 4 0 0 1 8 0v2M5 9h10v7H5z',
  unlock: 'M6 9V7a4 4 0 0 1 7.600-1.700M5 9h10v7H5z',
  trash: 'M4.500 6h11M8 6V4h4v2M6 6l.700 10h6.600L14 6',
  copy: 'M7 7h9v9H7zM4 13V4h9',
  eye: 'M2.500 10S5.500 5 10 5s7.500 5 7.500 5-3 5-7.500 5-7.500-5-7.500-5zM10 8a2 2 0 1 0 .010 0',
  sparkle: 'M10 3l1.600 4.900L16.500 9.500l-4.900 1.600L10 16l-1.600-4.900L3.500 9.500l4.900-1.600z',
  dice: 'M4 4h12v12H4zM7.300 7.300h.010M12.700 7.300h.010M10 10h.010M7.300 12.700h.010M12.700 12.700h.010',
  plus: 'M10 4v12M4 10h12',
  image: 'M3.500 4.500h13v11h-13zM4 14l4-4 3 3 2-2 3 3M12.500 7.500h.010',
  open: 'M10 13V4M6.500 7 10 3.500 13.500 7M4 12v4h12v-4',
  download: 'M10 3.500V12M6.500 9 10 12.500 13.500 9M4 14v2.500h12V14',
  sun: 'M10 7a3 3 0 1 0 .010 0M10 2.500v1.500M10 16v1.500M2.500 10H4M16 10h1.500M4.700 4.700l1 1M14.300 14.300l1 1M4.700 15.300l1-1M14.300 5.700l1-1',
  moon: 'M15.500 12.500A6.500 6.500 0 0 1 7.500 4.500a6.500 6.500 0 1 0 8 8z',
  magnet: 'M5 4v6a5 5 0 0 0 10 0V4h-3v6a2 2 0 0 1-4 0V4zM5 7h3M12 7h3',
  mirror: 'M10 3v14M7.500 6 3.500 14h4zM12.500 6l4 8h-4z',
  stop: 'M5.500 5.500h9v9h-9z',
  close: 'M5 5l10 10M15 5 5 15',
  compare: 'M10 3v14M4 5h4M4 15h4M4 5v10M12 5h4v10h-4',
  check: 'm4.500 10.500 3.500 3.500 7.500-8',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 20 20" width="18" height="18" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
