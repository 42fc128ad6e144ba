// Boxes: drawn, moved, resized and named, with mouse, finger and keyboard.
import { useRef } from 'preact/hooks';
import { addBox, addBoxSomewhere, changeThing, duplicate, nudge, remove } from '../actions';
import { tone } from '../model/colours';
import { between, HANDLES, moved, resized, snapMove, snapPoint, spoken, area, type Box, type Handle, type Point } from '../model/geometry';
import type { BoxThing } from '../model/document';
import { doc, edit, guides, hovered, layoutShown, matchesPath, naming, pathOf, problems, selected, settle, snapping, tones } from '../store';
import { signal } from '@preact/signals';
import { shareAt, stageSize } from './stage';
import { Naming } from './naming';

type Grip =
  | { readonly kind: 'draw'; readonly from: Point }
  | { readonly kind: 'move'; readonly key: string; readonly from: Point; readonly box: Box }
  | { readonly kind: 'resize'; readonly key: string; readonly handle: Handle; readonly box: Box };

const drawing = signal<Box | null>(null);
/** Shares of the stage within which a line attracts. */
const reach = (): number => (snapping.value ? 7 / Math.max(1, stageSize.value.width) : 0);

export function BoxLayer({ active }: { active: boolean }) {
  const layer = useRef<HTMLDivElement>(null);
  const grip = useRef<Grip | null>(null);

  const down = (event: PointerEvent): void => {
    if (event.button !== 0 || !active || (event.target as Element).closest('.naming')) return;
    const point = shareAt(event, layer.current!);
    const target = (event.target as Element).closest<HTMLElement>('[data-key]');
    const key = target?.dataset['key'];
    const thing = doc.value.boxes.find((one) => one.key === key);
    const handle = (event.target as HTMLElement).dataset['handle'] as Handle | undefined;
    layer.current!.setPointerCapture(event.pointerId);
    settle();
    if (thing && !event.shiftKey) {
      selected.value = thing.key;
      if (naming.value !== thing.key) naming.value = null;
      target!.focus({ preventScroll: true });
      grip.current = handle ? { kind: 'resize', key: thing.key, handle, box: thing.box } : { kind: 'move', key: thing.key, from: point, box: thing.box };
    } else {
      selected.value = null;
      naming.value = null;
      grip.current = { kind: 'draw', from: snapPoint(point, others(), reach()).point };
    }
    event.preventDefault();
  };

  const move = (event: PointerEvent): void => {
    const held = grip.current;
    if (!held) return;
    const point = shareAt(event, layer.current!);
    const near = event.altKey ? 0 : reach();
    if (held.kind === 'draw') {
      const snapped = snapPoint(point, others(), near);
      guides.value = snapped.lines;
      drawing.value = between(held.from, snapped.point);
    } else if (held.kind === 'move') {
      const free = moved(held.box, point[0] - held.from[0], point[1] - held.from[1]);
      const snap = snapMove(free, others(held.key), near);
      guides.value = snap.lines;
      changeThing(held.key, { box: moved(free, snap.dx, snap.dy) }, `drag ${held.key}`);
    } else {
      const snapped = snapPoint(point, others(held.key), near);
      guides.value = snapped.lines;
      changeThing(held.key, { box: resized(held.box, held.handle, snapped.point) }, `drag ${held.key}`);
    }
  };

  const up = (event: PointerEvent): void => {
    const held = grip.current;
    grip.current = null;
    guides.value = [];
    settle();
    if (held?.kind !== 'draw') return;
    const box = drawing.value;
    drawing.value = null;
    if (box && event.type === 'pointerup' && area(box) > 0.0008 && box[2] - box[0] > 0.02 && box[3] - box[1] > 0.02) addBox(box);
  };

  return (
    <div
      class={`box-layer ${active ? 'is-active' : ''}`}
      ref={layer}
      role="group"
      aria-label="Canvas of boxes. N adds a box."
      tabIndex={active && layoutShown.value ? 0 : -1}
      onPointerDown={down}
      onPointerMove={move}
      onPointerUp={up}
      onPointerCancel={up}
      onKeyDown={(event) => {
        if (event.target === layer.current && (event.key === 'n' || event.key === 'N') && !event.ctrlKey && !event.metaKey) {
          event.preventDefault();
          addBoxSomewhere();
        }
      }}
    >
      {doc.value.boxes.map((thing, index) => (
        <OneBox key={thing.key} thing={thing} index={index} active={active} />
      ))}
      {drawing.value && <div class="box is-drawn" style={placedAt(drawing.value)} />}
      {active && naming.value && doc.value.boxes.some((one) => one.key === naming.value) && (
        <Naming key={naming.value} thing={doc.value.boxes.find((one) => one.key === naming.value)!} box={doc.value.boxes.find((one) => one.key === naming.value)!.box} />
      )}
    </div>
  );
}

const others = (key?: string): Box[] => doc.value.boxes.filter((one) => one.key !== key).map((one) => one.box);

export const placedAt = (box: Box): Record<string, string> => ({
  left: `${box[0] * 100}%`,
  top: `${box[1] * 100}%`,
  width: `${(box[2] - box[0]) * 100}%`,
  height: `${(box[3] - box[1]) * 100}%`,
});

function OneBox({ thing, index, active }: { thing: BoxThing; index: number; active: boolean }) {
  const tint = tone(tones.value.byKey.get(thing.key) ?? index);
  const on = selected.value === thing.key;
  const wrong = naming.value !== thing.key && problems.value.some((one) => one.at && matchesPath(pathOf(one.at), `pictures.0.conditions.boxes.items.${index}`));
  return (
    <div
      class={`box ${on ? 'is-selected' : ''} ${hovered.value === thing.key ? 'is-hovered' : ''} ${thing.phrase ? '' : 'is-nameless'} ${wrong ? 'is-wrong' : ''}`}
      style={{ ...placedAt(thing.box), '--strong': tint.strong, '--bright': tint.bright }}
      data-key={thing.key}
      tabIndex={active && layoutShown.value ? 0 : -1}
      role="button"
      aria-label={`${thing.phrase || 'name it: a box without words'}, ${spoken(thing.box)}`}
      aria-pressed={on}
      onFocus={() => active && (selected.value = thing.key)}
      onPointerEnter={() => (hovered.value = thing.key)}
      onPointerLeave={() => (hovered.value = null)}
      onDblClick={() => active && (naming.value = thing.key)}
      onKeyDown={(event) => active && keys(event, thing)}
    >
      <span class="label">{thing.phrase || 'name it'}</span>
      {on && active && HANDLES.map((handle) => <i key={handle} class={`handle is-${handle}`} data-handle={handle} />)}
    </div>
  );
}

const ARROWS: Record<string, readonly [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Arrows move, with Shift they resize, with Alt finely; Enter names, Delete deletes, Ctrl+D duplicates. */
function keys(event: KeyboardEvent, thing: BoxThing): void {
  const arrow = ARROWS[event.key];
  const by = event.altKey ? 0.0025 : 0.02;
  if (arrow && event.shiftKey) {
    const [x0, y0, x1, y1] = thing.box;
    const to: Point = [x1 + arrow[0] * by, y1 + arrow[1] * by];
    edit((before) => ({ ...before, boxes: before.boxes.map((one) => (one.key === thing.key ? { ...one, box: resized([x0, y0, x1, y1], 'se', to) } : one)) }), `size ${thing.key}`);
  } else if (arrow) nudge(thing.key, arrow[0] * by, arrow[1] * by);
  else if (event.key === 'Enter' || event.key === 'F2') naming.value = thing.key;
  else if (event.key === 'Delete' || event.key === 'Backspace') remove(thing.key);
  else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'd') duplicate(thing.key);
  else if (event.key === 'Escape') selected.value = null;
  else return;
  event.preventDefault();
  event.stopPropagation();
}
