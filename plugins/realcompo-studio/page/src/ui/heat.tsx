// Maps of a run as heat: read from the server's bytes, coloured, and drawn smoothly over the picture.
import { useEffect, useRef } from 'preact/hooks';
import { signal } from '@preact/signals';
import { api, type FieldMap, type InsideMaps } from '../api';
import { heat } from '../model/colours';
import { valuesOf } from '../model/maps';
import { exhibit, shownStep } from '../store';

const KEEP = 80;
const cache = new Map<string, InsideMaps>();
/** The maps of the step that is looked at; the last known ones while the next come. */
export const inside = signal<InsideMaps | null>(null);

/** Fetches the maps of the step that is looked at; asks for one at a time, and for the newest when it is free again. */
export function useInside(wanted: boolean): void {
  const found = exhibit.value;
  const step = shownStep.value;
  const base = wanted && found?.traced ? found.base : null;
  const key = base && step ? `${base}/${step.index}` : null;
  useEffect(() => {
    if (!key || !base || !step) {
      if (!found?.steps.length) inside.value = null;
      return;
    }
    const known = cache.get(key);
    if (known) {
      inside.value = known;
      return;
    }
    let dropped = false;
    const timer = setTimeout(() => {
      void api
        .inside(base, step.index)
        .then((maps) => {
          cache.set(key, maps);
          for (const old of cache.keys()) {
            if (cache.size <= KEEP) break;
            cache.delete(old);
          }
          if (!dropped) inside.value = maps;
        })
        .catch(() => undefined);
    }, 40);
    return () => {
      dropped = true;
      clearTimeout(timer);
    };
  }, [key]);
}

/** A map as a canvas that fills what it stands in. `most`: the value of the hottest colour. */
export function HeatMap({ map, most, label }: { map: FieldMap; most: number; label?: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const context = canvas.current?.getContext('2d');
    if (!context) return;
    const pixels = context.createImageData(map.width, map.height);
    valuesOf(map).forEach((value, k) => {
      const [red, green, blue] = heat(most > 0 ? value / most : 0);
      pixels.data.set([red, green, blue, 255], 4 * k);
    });
    context.putImageData(pixels, 0, 0);
  }, [map, most]);
  return <canvas class="heat" ref={canvas} width={map.width} height={map.height} {...(label ? { role: 'img', 'aria-label': label } : { 'aria-hidden': true })} />;
}
