// Above the stage: which canvas, and its tools.
import { useRef } from 'preact/hooks';
import { addBoxSomewhere, addPerson, changeThing, classColour, findThing, openCanvas } from '../actions';
import { mirrored } from '../model/poses';
import type { ConditionKind, Person } from '../model/document';
import { canRedo, canUndo, brushSize, canvas, kinds, layoutShown, paintClass, poses, redo, selected, snapping, tool, tracing, undo, vocabulary, type Tool } from '../store';
import { IconButton } from './bits';
import { Icon, type IconName } from './icons';
import { clearMap } from './segments';
import { doc } from '../store';

const CANVASES: readonly (readonly [ConditionKind, string, IconName])[] = [
  ['boxes', 'Boxes', 'box'],
  ['keypoints', 'Poses', 'person'],
  ['segmentation', 'Paint', 'brush'],
];

export function Tools() {
  return (
    <div class="tools" role="toolbar" aria-label="Canvas">
      <div class="tool-row">
        <div class="segmented" role="group" aria-label="What is drawn on the canvas">
          {CANVASES.map(([kind, name, icon]) => (
            <button key={kind} type="button" class={kinds.value.includes(kind) ? '' : 'is-unused'} aria-pressed={canvas.value === kind && kinds.value.includes(kind)} onClick={() => openCanvas(kind)}>
              <Icon name={icon} /> {name}
            </button>
          ))}
        </div>
        <span class="gap" />
        <Trace />
        <IconButton icon="magnet" label="Snap to other things and to the middle" pressed={snapping.value} onClick={() => (snapping.value = !snapping.value)} />
        <IconButton icon="eye" label="Show the layout" pressed={layoutShown.value} onClick={() => (layoutShown.value = !layoutShown.value)} />
        <IconButton icon="undo" label="Undo (Ctrl+Z)" disabled={!canUndo.value} onClick={undo} />
        <IconButton icon="redo" label="Redo (Ctrl+Shift+Z)" disabled={!canRedo.value} onClick={redo} />
      </div>
      <div class="tool-row is-second">
        {canvas.value === 'boxes' && <BoxTools />}
        {canvas.value === 'keypoints' && <PoseTools />}
        {canvas.value === 'segmentation' && <PaintTools />}
      </div>
    </div>
  );
}

function BoxTools() {
  return (
    <>
      <button type="button" class="button is-small" onClick={() => addBoxSomewhere()}>
        <Icon name="plus" /> Add a box
      </button>
      <span class="quiet tip">Drag to draw one. Shift-drag draws inside another. Arrow keys move, Enter names.</span>
    </>
  );
}

function PoseTools() {
  const found = findThing(selected.value);
  const person = found?.kind === 'keypoints' ? (found.thing as Person) : null;
  return (
    <>
      <label for="pose" class="visually-hidden">
        Add a person in a pose
      </label>
      <select
        id="pose"
        class="is-small"
        value=""
        onChange={(event) => {
          addPerson(event.currentTarget.value);
          event.currentTarget.value = '';
        }}
      >
        <option value="" disabled>
          + Add a person …
        </option>
        {Object.keys(poses.value?.poses ?? {}).map((name) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </select>
      {person && <IconButton icon="mirror" label="Mirror this person" onClick={() => changeThing(person.key, { points: mirrored(person.points) })} />}
      <span class="quiet tip">Drag joints; double-click hides one. Drag the frame to move, its corner to resize.</span>
    </>
  );
}

const BRUSHES: readonly (readonly [Tool, string, IconName])[] = [
  ['brush', 'Brush', 'brush'],
  ['polygon', 'Polygon: click corners, close at the first or with Enter', 'polygon'],
  ['fill', 'Fill what is connected', 'fill'],
  ['erase', 'Eraser', 'eraser'],
];

function PaintTools() {
  return (
    <>
      <div class="segmented is-icons" role="group" aria-label="Tool">
        {BRUSHES.map(([name, label, icon]) => (
          <button key={name} type="button" title={label} aria-label={label} aria-pressed={tool.value === name} onClick={() => (tool.value = name)}>
            <Icon name={icon} />
          </button>
        ))}
      </div>
      <span class="swatch" style={{ background: classColour(paintClass.value) }} aria-hidden="true" />
      <label for="class" class="visually-hidden">
        Class to paint
      </label>
      <select id="class" class="is-small" value={paintClass.value} onChange={(event) => (paintClass.value = event.currentTarget.value)}>
        {vocabulary.value.map((one) => (
          <option key={one.name} value={one.name}>
            {one.name}
          </option>
        ))}
      </select>
      <label class="slider">
        <span>Size</span>
        <input type="range" min="1" max="40" value={brushSize.value} onInput={(event) => (brushSize.value = Number(event.currentTarget.value))} />
      </label>
      {doc.value.segments.items.length > 0 && <IconButton icon="trash" label="Clear the map" onClick={clearMap} />}
      <span class="quiet tip">Name a segment in the list.</span>
    </>
  );
}

/** A picture below everything, to trace: it stays on this page and is sent nowhere. */
function Trace() {
  const file = useRef<HTMLInputElement>(null);
  const found = tracing.value;
  const take = async (chosen: File | undefined): Promise<void> => {
    if (chosen) tracing.value = { source: URL.createObjectURL(chosen), opacity: 0.55 };
  };
  return (
    <>
      {found && (
        <label class="slider">
          <span class="visually-hidden">Strength of the traced picture</span>
          <input type="range" min="0.05" max="1" step="0.05" value={found.opacity} onInput={(event) => (tracing.value = { ...found, opacity: Number(event.currentTarget.value) })} />
        </label>
      )}
      <IconButton
        icon={found ? 'close' : 'image'}
        label={found ? 'Take the traced picture away' : 'Lay a picture below, to trace it'}
        onClick={() => {
          if (found) {
            URL.revokeObjectURL(found.source);
            tracing.value = null;
          } else file.current?.click();
        }}
      />
      <input
        ref={file}
        type="file"
        accept="image/*"
        hidden
        aria-label="Picture to trace"
        data-testid="trace-file"
        onChange={(event) => {
          void take(event.currentTarget.files?.[0]);
          event.currentTarget.value = '';
        }}
      />
    </>
  );
}
