// The page: words and models at the left, the stage in the middle, what is behind a picture at the right.
import { useEffect, useRef, useState } from 'preact/hooks';
import { beginAnew, bring } from '../pictures';
import { draw } from '../runs';
import { connection, isBusy, panel, redo, state, theme, undo, type Panel } from '../store';
import { IconButton } from './bits';
import { Compare } from './compare';
import { DrawBar } from './drawbar';
import { Gallery } from './gallery';
import { Look } from './look';
import { Models } from './models';
import { Settings } from './settings';
import { Share } from './share';
import { Stage } from './stage';
import { Things } from './things';
import { Tools } from './tools';
import { Words } from './words';

export function App() {
  const [over, setOver] = useState(false);
  useEffect(() => {
    addEventListener('keydown', shortcuts);
    return () => removeEventListener('keydown', shortcuts);
  }, []);
  return (
    <div
      class={`app ${over ? 'is-over' : ''}`}
      onDragOver={(event) => {
        if (!event.dataTransfer?.types.includes('Files')) return;
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={(event) => event.relatedTarget === null && setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        const file = event.dataTransfer?.files[0];
        if (file) void bring(file);
      }}
    >
      <a class="skip" href="#canvas">
        To the canvas
      </a>
      <Header />
      <main class="work">
        <div class="side" role="region" aria-label="Words and models" tabIndex={-1}>
          <Words />
          <Things />
          <Models />
          <Settings />
        </div>
        <div class="middle" id="canvas" tabIndex={-1}>
          <Tools />
          <Stage />
          <DrawBar />
        </div>
        <Panels />
      </main>
      <Compare />
      {over && <div class="drop-here">Drop a picture that RealCompo drew, to go on from it</div>}
    </div>
  );
}

/** Of a folder's path; the whole of it is told by a title, and on no picture of the page. */
const lastName = (path: string): string => path.split(/[\\/]/u).filter(Boolean).at(-1) ?? path;

function Header() {
  const file = useRef<HTMLInputElement>(null);
  const dark = theme.value === 'dark' || (theme.value === 'auto' && matchMedia('(prefers-color-scheme: dark)').matches);
  return (
    <header class="top">
      <h1>
        <span class="mark" aria-hidden="true">
          <i />
          <i />
        </span>
        RealCompo <span>studio</span>
      </h1>
      <p class={`line is-${connection.value}`} role="status" title={state.value?.folder}>
        {connection.value === 'lost' ? 'The studio does not answer. Trying again …' : [state.value?.device, state.value ? `pictures in ${lastName(state.value.folder)}` : ''].filter(Boolean).join(' · ')}
      </p>
      <button type="button" class="button is-quiet" onClick={beginAnew}>
        New
      </button>
      <button type="button" class="button is-quiet" onClick={() => file.current?.click()}>
        Open a picture
      </button>
      <input
        ref={file}
        type="file"
        accept="image/png"
        hidden
        aria-label="Picture to open"
        data-testid="open-file"
        onChange={(event) => {
          const chosen = event.currentTarget.files?.[0];
          if (chosen) void bring(chosen);
          event.currentTarget.value = '';
        }}
      />
      <IconButton icon={dark ? 'sun' : 'moon'} label={dark ? 'Light' : 'Dark'} onClick={() => (theme.value = dark ? 'light' : 'dark')} />
    </header>
  );
}

const TABS: readonly (readonly [Panel, string])[] = [
  ['look', 'Look inside'],
  ['gallery', 'Gallery'],
  ['share', 'Recipe'],
];

function Panels() {
  const move = (event: KeyboardEvent): void => {
    const by = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    if (!by) return;
    event.preventDefault();
    const at = TABS.findIndex(([name]) => name === panel.value);
    const [next] = TABS[(at + by + TABS.length) % TABS.length]!;
    panel.value = next;
    document.getElementById(`tab-${next}`)?.focus();
  };
  return (
    <div class="panel">
      <div class="tabs" role="tablist" aria-label="Behind the picture" onKeyDown={move}>
        {TABS.map(([name, label]) => (
          <button
            key={name}
            type="button"
            role="tab"
            id={`tab-${name}`}
            aria-controls={`panel-${name}`}
            aria-selected={panel.value === name}
            tabIndex={panel.value === name ? 0 : -1}
            onClick={() => (panel.value = name)}
          >
            {label}
          </button>
        ))}
      </div>
      <div class="panel-body" role="tabpanel" id={`panel-${panel.value}`} aria-labelledby={`tab-${panel.value}`} tabIndex={0}>
        {panel.value === 'look' && <Look />}
        {panel.value === 'gallery' && <Gallery />}
        {panel.value === 'share' && <Share />}
      </div>
    </div>
  );
}

function shortcuts(event: KeyboardEvent): void {
  const command = event.ctrlKey || event.metaKey;
  if (!command) return;
  const key = event.key.toLowerCase();
  const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement;
  if (key === 'enter' && !isBusy.value) void draw();
  else if (key === 'z' && !typing) event.shiftKey ? redo() : undo();
  else if (key === 'y' && !typing) redo();
  else return;
  event.preventDefault();
}
