// The stage: paper, tracing, picture, heat, and the canvas of the kind that is edited above them. Its frame never changes while a picture grows.
import { useEffect, useRef } from 'preact/hooks';
import { signal } from '@preact/signals';
import { aspect, canvas, doc, exhibit, guides, hovered, isBusy, kinds, layoutShown, shownImage, shownStep, things, tones, tracing, view } from '../store';
import { tone } from '../model/colours';
import { allRegionIds } from '../model/document';
import { BoxLayer } from './boxes';
import { PoseLayer } from './people';
import { SegmentLayer } from './segments';
import { percent } from './bits';
import { HeatMap, inside } from './heat';
import { knownLoss } from './reading';
import { stepImage } from './look';
import { pinned } from '../store';
import type { FieldMap } from '../api';

/** Of the stage, in CSS pixels. */
export const stageSize = signal({ width: 500, height: 500 });

/** Where a pointer is, as shares of the picture; it may lie outside. */
export function shareAt(event: { clientX: number; clientY: number }, element: Element): [number, number] {
  const frame = element.getBoundingClientRect();
  return [(event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height];
}

function shownMap(): { map: FieldMap; most: number; name: string } | null {
  const now = view.value;
  const maps = inside.value;
  if (!maps) return null;
  if (now.kind === 'weight') {
    const map = maps.weights[now.branch];
    return map ? { map, most: 1, name: `Weight of ${now.branch}` } : null;
  }
  if (now.kind === 'attention') {
    const map = maps.attention[now.branch]?.[now.region];
    return map ? { map, most: map.high, name: `Attention to ${now.region}` } : null;
  }
  return null;
}

/** The loss of the region under the pointer, at the step that is looked at or the last before it at which attention was read. */
function HoveredLoss() {
  const found = exhibit.value;
  const key = hovered.value;
  const region = key === null ? undefined : allRegionIds(doc.value).get(key);
  if (!found || !shownStep.value || key === null || region === undefined) return null;
  const known = knownLoss(found.steps, shownStep.value.index, region);
  if (!known) return null;
  const tint = tone(tones.value.byKey.get(key) ?? 0);
  return (
    <span class="loss-name" style={{ '--strong': tint.bright, '--bright': tint.bright }} data-testid="loss">
      <i class="dot" aria-hidden="true" />
      {found.regions.find((one) => one.id === region)?.phrase ?? region}: {percent(known.loss)} of the attention outside its place, step {known.index + 1}
    </span>
  );
}

export function Stage() {
  const frame = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = frame.current!;
    const watch = new ResizeObserver(() => (stageSize.value = { width: element.clientWidth, height: element.clientHeight }));
    watch.observe(element);
    return () => watch.disconnect();
  }, []);
  const image = pinned.value !== null ? (stepImage() ?? shownImage.value) : shownImage.value;
  const heat = shownMap();
  const picture = view.value.kind !== 'paper' && image;
  const bare = !things.value.length && !picture && !isBusy.value;
  return (
    <div class="stage-room">
      <div class={`stage ${picture ? 'has-picture' : ''} ${isBusy.value ? 'is-busy' : ''}`} ref={frame} style={{ '--aspect': aspect.value }} data-testid="stage">
        {tracing.value && <img class="tracing" src={tracing.value.source} alt="" style={{ opacity: tracing.value.opacity }} />}
        {picture && <img class="picture" src={picture} alt={exhibit.value?.picture ? `Picture: ${exhibit.value.picture}` : 'The picture so far'} data-testid="picture" />}
        {heat && <HeatMap map={heat.map} most={heat.most} label={heat.name} />}
        {heat && <span class="heat-name">{heat.name}</span>}
        <HoveredLoss />
        <div class={layoutShown.value ? 'layers' : 'layers is-hidden'}>
          {kinds.value.includes('segmentation') && <SegmentLayer />}
          {kinds.value.includes('boxes') && <BoxLayer active={canvas.value === 'boxes'} />}
          {kinds.value.includes('keypoints') && <PoseLayer active={canvas.value === 'keypoints'} />}
          {guides.value.map((guide) => (
            <i key={`${guide.axis}${guide.at}`} class={`guide is-${guide.axis}`} style={guide.axis === 'x' ? { left: `${guide.at * 100}%` } : { top: `${guide.at * 100}%` }} />
          ))}
        </div>
        {bare && (
          <p class="invitation">
            {canvas.value === 'boxes' && 'Drag here to give a thing its place.'}
            {canvas.value === 'keypoints' && 'Add a person above, then drag the joints.'}
            {canvas.value === 'segmentation' && 'Choose a colour above and paint.'}
          </p>
        )}
      </div>
    </div>
  );
}
