// People as skeletons: joints are dragged, a person is moved by the limbs or resized by the frame's corner.
import { useRef } from 'preact/hooks';
import { changeThing, duplicate, findThing, hideJoint, nudge, remove } from '../actions';
import { tone } from '../model/colours';
import { around, resized, type Box, type Point } from '../model/geometry';
import type { Person } from '../model/document';
import { fitted, LIMBS, movedPerson, spokenJoint, withJoint, type Points } from '../model/poses';
import { doc, hovered, layoutShown, naming, poses, selected, settle, tones } from '../store';
import { Naming } from './naming';
import { shareAt, stageSize } from './stage';

type Grip =
  | { readonly kind: 'joint'; readonly key: string; readonly joint: string }
  | { readonly kind: 'person'; readonly key: string; readonly from: Point; readonly points: Points }
  | { readonly kind: 'size'; readonly key: string; readonly box: Box; readonly points: Points };

export function PoseLayer({ active }: { active: boolean }) {
  const layer = useRef<HTMLDivElement>(null);
  const grip = useRef<Grip | null>(null);

  const down = (event: PointerEvent): void => {
    if (event.button !== 0 || !active || (event.target as Element).closest('.naming')) return;
    const target = (event.target as Element).closest<SVGElement>('[data-key]');
    const person = doc.value.people.find((one) => one.key === target?.dataset['key']);
    naming.value = null;
    if (!person) {
      selected.value = null;
      return;
    }
    layer.current!.setPointerCapture(event.pointerId);
    settle();
    selected.value = person.key;
    const joint = target!.dataset['joint'];
    if (joint) {
      target!.focus({ preventScroll: true });
      grip.current = { kind: 'joint', key: person.key, joint };
    } else if (target!.dataset['size']) grip.current = { kind: 'size', key: person.key, box: around(Object.values(person.points)), points: person.points };
    else grip.current = { kind: 'person', key: person.key, from: shareAt(event, layer.current!), points: person.points };
    event.preventDefault();
  };

  const move = (event: PointerEvent): void => {
    const held = grip.current;
    if (!held) return;
    const point = shareAt(event, layer.current!);
    const tag = `drag ${held.key} ${held.kind === 'joint' ? held.joint : ''}`;
    if (held.kind === 'joint') {
      const person = findThing(held.key)?.thing as Person | undefined;
      if (person) changeThing(held.key, { points: withJoint(person.points, held.joint, point) }, tag);
    } else if (held.kind === 'person') changeThing(held.key, { points: movedPerson(held.points, point[0] - held.from[0], point[1] - held.from[1]) }, tag);
    else changeThing(held.key, { points: fitted(held.points, held.box, resized(held.box, 'se', point)) }, tag);
  };

  const up = (): void => {
    grip.current = null;
    settle();
  };

  const { width, height } = stageSize.value;
  const named = doc.value.people.find((one) => one.key === naming.value);
  return (
    <div class={`pose-layer ${active ? 'is-active' : ''}`} ref={layer} onPointerDown={down} onPointerMove={move} onPointerUp={up} onPointerCancel={up} role="group" aria-label="Canvas of poses">
      <svg viewBox={`0 0 ${width} ${height}`}>
        {doc.value.people.map((person, index) => (
          <OnePerson key={person.key} person={person} index={index} active={active} />
        ))}
      </svg>
      {doc.value.people.map((person, index) => {
        const box = around(Object.values(person.points));
        const tint = tone(tones.value.byKey.get(person.key) ?? index);
        return (
          <span key={person.key} class="label is-person" style={{ left: `${((box[0] + box[2]) / 2) * 100}%`, top: `${box[1] * 100}%`, '--strong': tint.strong }}>
            {person.phrase || 'name them'}
          </span>
        );
      })}
      {active && named && <Naming key={named.key} person thing={named} box={around(Object.values(named.points))} />}
    </div>
  );
}

function OnePerson({ person, index, active }: { person: Person; index: number; active: boolean }) {
  const { width, height } = stageSize.value;
  const tint = tone(tones.value.byKey.get(person.key) ?? index);
  const on = selected.value === person.key && active;
  const at = (point: Point): [number, number] => [point[0] * width, point[1] * height];
  const box = around(Object.values(person.points));
  const tabbable = active && layoutShown.value;
  const name = person.phrase || 'A person without words';
  return (
    <g
      class={`person ${on ? 'is-selected' : ''} ${hovered.value === person.key ? 'is-hovered' : ''}`}
      style={{ '--strong': tint.strong, '--bright': tint.bright }}
      onPointerEnter={() => (hovered.value = person.key)}
      onPointerLeave={() => (hovered.value = null)}
    >
      <rect
        class="person-frame"
        data-key={person.key}
        x={box[0] * width - 6}
        y={box[1] * height - 6}
        width={(box[2] - box[0]) * width + 12}
        height={(box[3] - box[1]) * height + 12}
        rx="6"
        tabindex={tabbable ? 0 : -1}
        role="button"
        aria-label={`${name}, ${Object.keys(person.points).length} joints`}
        aria-pressed={on}
        onFocus={() => active && (selected.value = person.key)}
        onDblClick={() => active && (naming.value = person.key)}
        onKeyDown={(event) => active && personKeys(event, person)}
      />
      <g class="limbs" data-key={person.key}>
        {LIMBS.map(([from, to], k) => {
          const [a, b] = [person.points[from], person.points[to]];
          if (!a || !b) return null;
          const [x1, y1] = at(a);
          const [x2, y2] = at(b);
          const colour = poses.value?.limb_colours[k];
          return <line key={`${from} ${to}`} x1={x1} y1={y1} x2={x2} y2={y2} style={colour ? { stroke: `rgb(${colour.join(' ')})` } : undefined} />;
        })}
      </g>
      {Object.entries(person.points).map(([joint, point]) => {
        const [x, y] = at(point);
        return (
          <circle
            key={joint}
            class="joint"
            data-key={person.key}
            data-joint={joint}
            cx={x}
            cy={y}
            r={on ? 6 : 4}
            tabindex={on && layoutShown.value ? 0 : -1}
            role="button"
            aria-label={`${spokenJoint(joint)} of ${name}. Arrows move it, H hides it.`}
            onKeyDown={(event) => jointKeys(event, person, joint)}
            onDblClick={() => hideJoint(person.key, joint)}
          >
            <title>{`${spokenJoint(joint)} of ${name}`}</title>
          </circle>
        );
      })}
      {on && <rect class="size-grip" data-key={person.key} data-size="1" x={box[2] * width + 1} y={box[3] * height + 1} width="12" height="12" rx="3" />}
    </g>
  );
}

const ARROWS: Record<string, readonly [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function personKeys(event: KeyboardEvent, person: Person): void {
  const arrow = ARROWS[event.key];
  const by = event.altKey ? 0.0025 : 0.02;
  if (arrow && event.shiftKey) {
    const box = around(Object.values(person.points));
    changeThing(person.key, { points: fitted(person.points, box, resized(box, 'se', [box[2] + arrow[0] * by, box[3] + arrow[1] * by])) }, `size ${person.key}`);
  } else if (arrow) nudge(person.key, arrow[0] * by, arrow[1] * by);
  else if (event.key === 'Enter' || event.key === 'F2') naming.value = person.key;
  else if (event.key === 'Delete' || event.key === 'Backspace') remove(person.key);
  else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'd') duplicate(person.key);
  else if (event.key === 'Escape') selected.value = null;
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function jointKeys(event: KeyboardEvent, person: Person, joint: string): void {
  const arrow = ARROWS[event.key];
  const by = event.altKey ? 0.0025 : 0.01;
  const point = person.points[joint];
  if (arrow && point) changeThing(person.key, { points: withJoint(person.points, joint, [point[0] + arrow[0] * by, point[1] + arrow[1] * by]) }, `joint ${person.key} ${joint}`);
  else if (event.key.toLowerCase() === 'h' || event.key === 'Delete') hideJoint(person.key, joint);
  else return;
  event.preventDefault();
  event.stopPropagation();
}
