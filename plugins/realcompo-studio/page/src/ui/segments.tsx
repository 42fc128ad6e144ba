// The map of segments: brush, eraser, polygon and fill, in the colours of the branch's own vocabulary.
import { useEffect, useRef } from 'preact/hooks';
import { signal } from '@preact/signals';
import { classColour, mapSize, maskOf, paint, renameSegment } from '../actions';
import { brushed, filledPolygon, flooded, type At } from '../model/painting';
import { emptyMask } from '../model/runs';
import { suggestions } from '../model/words';
import type { Segment, SegmentMap } from '../model/document';
import { brushSize, canvas, doc, edit, hovered, paintClass, said, selected, settle, tool, vocabulary } from '../store';
import { shareAt, stageSize } from './stage';

const corners = signal<readonly At[]>([]);
const stroke = signal<readonly At[]>([]);

/** The map that is painted on: the document's, or an empty one of the picture's size. */
function ground(): SegmentMap {
  const map = doc.value.segments;
  if (map.items.length) return map;
  const [height, width] = mapSize();
  return { height, width, items: [] };
}

export function SegmentLayer() {
  const painted = useRef<HTMLCanvasElement>(null);
  const layer = useRef<HTMLDivElement>(null);
  const active = canvas.value === 'segmentation';
  const map = doc.value.segments;
  void vocabulary.value;

  useEffect(() => {
    const context = painted.current?.getContext('2d');
    if (!context) return;
    const image = context.createImageData(map.width, map.height);
    for (const segment of map.items) {
      const [red = 128, green = 128, blue = 128] = (classColour(segment.label).match(/\d+/gu) ?? []).map(Number);
      maskOf(segment, map.height, map.width).data.forEach((inside, k) => inside && image.data.set([red, green, blue, 255], 4 * k));
    }
    context.putImageData(image, 0, 0);
  }, [map, vocabulary.value]);

  const at = (event: PointerEvent): At => {
    const [x, y] = shareAt(event, layer.current!);
    const { height, width } = ground();
    return [x * width, y * height];
  };

  const down = (event: PointerEvent): void => {
    if (event.button !== 0 || !active) return;
    event.preventDefault();
    if (tool.value === 'brush' || tool.value === 'erase') {
      layer.current!.setPointerCapture(event.pointerId);
      stroke.value = [at(event)];
    } else if (tool.value === 'polygon') {
      const point = at(event);
      const first = corners.value[0];
      const { width } = ground();
      const near = first && Math.hypot(first[0] - point[0], first[1] - point[1]) * (stageSize.value.width / width) < 12;
      if (near && corners.value.length > 2) closePolygon();
      else corners.value = [...corners.value, point];
    } else if (tool.value === 'fill') fill(at(event));
  };
  const move = (event: PointerEvent): void => {
    if (stroke.value.length) stroke.value = [...stroke.value, at(event)];
    else hovered.value = under(at(event));
  };
  const up = (): void => {
    const line = stroke.value;
    stroke.value = [];
    if (!line.length) return;
    const { height, width } = ground();
    put(brushed(emptyMask(height, width), line, brushRadius(width)), tool.value === 'erase');
  };

  const { width, height } = stageSize.value;
  const scale = width / ground().width;
  const line = (points: readonly At[]): string => points.map(([x, y]) => `${x * scale},${y * scale}`).join(' ');
  return (
    <div
      class={`segment-layer ${active ? 'is-active' : ''}`}
      ref={layer}
      role="group"
      aria-label={`Map of ${map.items.length} segments. With the fill tool, Enter fills what is empty.`}
      tabIndex={active ? 0 : -1}
      onPointerDown={down}
      onPointerMove={move}
      onPointerUp={up}
      onPointerCancel={up}
      onPointerLeave={() => (hovered.value = null)}
      onDblClick={() => tool.value === 'polygon' && closePolygon()}
      onKeyDown={(event) => {
        if (event.key === 'Enter' && tool.value === 'polygon' && corners.value.length) closePolygon();
        else if (event.key === 'Enter' && tool.value === 'fill') fillEmpty();
        else if (event.key === 'Escape') corners.value = [];
        else return;
        event.preventDefault();
      }}
    >
      <canvas ref={painted} width={map.width} height={map.height} aria-hidden="true" data-testid="segments" />
      <svg viewBox={`0 0 ${width} ${height}`} aria-hidden="true">
        {stroke.value.length > 0 && (
          <polyline
            class="stroke"
            points={line(stroke.value.length === 1 ? [...stroke.value, stroke.value[0]!] : stroke.value)}
            style={{ stroke: tool.value === 'erase' ? 'var(--paper)' : classColour(paintClass.value), strokeWidth: `${brushRadius(ground().width) * 2 * scale}px` }}
          />
        )}
        {corners.value.length > 0 && <polyline class="corners" points={line(corners.value)} style={{ stroke: classColour(paintClass.value) }} />}
        {corners.value.map((corner, k) => (
          <circle key={k} class="corner" cx={corner[0] * scale} cy={corner[1] * scale} r={k ? 4 : 6} />
        ))}
      </svg>
    </div>
  );
}

/** A segment never changes, so its mask is made once for all moves of a pointer over it. */
const masks = new WeakMap<Segment, ReturnType<typeof emptyMask>>();

/** The segment at a place of the map, if any. */
function under([x, y]: At): string | null {
  const { height, width, items } = ground();
  const [column, row] = [Math.floor(x), Math.floor(y)];
  if (column < 0 || row < 0 || column >= width || row >= height) return null;
  const at = row * width + column;
  for (const segment of items) {
    const mask = masks.get(segment) ?? maskOf(segment, height, width);
    masks.set(segment, mask);
    if (mask.data[at]) return segment.key;
  }
  return null;
}

/** Pixels of the map: the slider tells per cents of its width. */
const brushRadius = (width: number): number => Math.max(0.6, (brushSize.value / 200) * width);

function closePolygon(): void {
  const points = corners.value;
  corners.value = [];
  if (points.length < 3) return;
  const { height, width } = ground();
  put(filledPolygon(emptyMask(height, width), points), false);
}

/** Everything that is connected to a point and of one segment, or of none, takes the class. */
function fill(start: At): void {
  const { height, width, items } = ground();
  const owners = new Int16Array(height * width);
  items.forEach((segment, k) => maskOf(segment, height, width).data.forEach((inside, at) => inside && (owners[at] = k + 1)));
  put(flooded(owners, height, width, start), false);
}

/** All that is of no segment takes the class: for the keyboard. */
export function fillEmpty(): void {
  const { height, width, items } = ground();
  const shape = emptyMask(height, width);
  shape.data.fill(1);
  for (const segment of items) maskOf(segment, height, width).data.forEach((inside, k) => inside && (shape.data[k] = 0));
  put(shape, false);
}

function put(shape: ReturnType<typeof emptyMask>, erase: boolean): void {
  settle();
  if (erase) {
    paint(shape, '', null);
    return;
  }
  const label = paintClass.value;
  if (!label) return;
  const known = doc.value.segments.items.some((one) => one.label === label);
  paint(shape, label, null);
  const made = doc.value.segments.items.find((one) => one.label === label);
  said.value = `${label} painted`;
  if (!made) return;
  selected.value = made.key;
  // A thing that the prompt names becomes a region at once; the ground stays a backdrop.
  const words = known ? undefined : suggestions(doc.value.prompt, doc.value.segments.items.map((one) => ({ id: one.key, phrase: one.phrase }))).find((phrase) => phrase.toLowerCase().split(' ').at(-1) === label);
  if (words) renameSegment(made.key, words);
}

export function clearMap(): void {
  edit((before) => ({ ...before, segments: { ...before.segments, items: [] } }));
}
