// Below the stage: Draw, how far it is, what is being done, and how to stop it.
import { cancel, draw } from '../runs';
import { checked, doc, exhibit, isBusy, job, naming, notice, problems, problemsAt, said, state, undo, unreadable } from '../store';
import { Notes, seconds } from './bits';
import { Icon } from './icons';
import { explained } from './reading';

/** Problems that have no field of their own on the page stand beside Draw. */
const FIELDS = /^(?:plan|wish|locked|planner|import|scheduler(?:_options)?|num_inference_steps|height|width|balancer|branches\.\d+|pictures\.0\.(?:prompt|negative_prompt|seed|conditions))(?:\.|$)/u;

export function DrawBar() {
  const now = job.value;
  const busy = isBusy.value;
  const loose = problems.value.filter((one) => !one.at || !FIELDS.test(one.at.join('.')));
  // Who is just being asked for a thing's words need not be told that it lacks them.
  const asked = naming.value ? 1 : 0;
  const others = Math.max(0, problems.value.length - loose.length - asked) + Object.keys(unreadable.value).length;
  const share = now && now.count ? now.step / now.count : 0;
  const cost = checked.value?.cost;
  return (
    <div class="draw-bar">
      <div class="draw-row">
        {busy ? (
          <button type="button" class="button is-main is-large is-stop" onClick={() => void cancel()}>
            <Icon name="stop" /> Cancel
          </button>
        ) : (
          <button type="button" class="button is-main is-large" disabled={!doc.value.prompt.trim()} onClick={() => void draw()} title="Ctrl+Enter">
            Draw
          </button>
        )}
        <div class="progress-room">
          <div class="progress-line">
            <span data-testid="status">{status()}</span>
            <span class="quiet">{busy && now?.status === 'running' && now.left !== null ? `${seconds(now.left)} left` : !busy && cost?.seconds ? `about ${seconds(cost.seconds)}` : ''}</span>
          </div>
          <progress max="1" value={busy ? share : now?.status === 'done' ? 1 : 0} aria-label="Progress" />
        </div>
      </div>
      <p class="sentence" data-testid="sentence">
        {busy ? explained(now?.phase ?? null, exhibit.value?.branches ?? now?.branches ?? []) : others > 0 ? <span class="wrong-count">{others === 1 ? 'One field needs a look: its note stands beside it.' : `${others} fields need a look: their notes stand beside them.`}</span> : afterwards()}
      </p>
      <Notes problems={[...loose, ...problemsAt('import')]} />
      <p class="visually-hidden" role="status">
        {said.value}
      </p>
    </div>
  );
}

function status(): string {
  const now = job.value;
  if (!now) return state.value && !state.value.embedded.ready && state.value.embedded.problem ? 'The embedded models are not here' : 'Ready';
  switch (now.status) {
    case 'queued':
      return now.position ? `Waiting: ${now.position} before it` : 'Next in line';
    case 'running':
      return now.step ? `Step ${now.step} of ${now.count}` : now.phase === 'loading' ? 'Waking the models' : now.phase === 'planning' ? 'Planning' : 'Beginning';
    case 'done':
      return 'Done';
    case 'failed':
      return 'It could not be drawn';
    case 'cancelled':
      return 'Stopped';
    default:
      return 'Interrupted';
  }
}

function afterwards() {
  const found = notice.value;
  if (found?.tone === 'fine')
    return (
      <>
        {found.text}{' '}
        {found.undoable && (
          <button
            type="button"
            class="link"
            onClick={() => {
              undo();
              notice.value = null;
            }}
          >
            Undo
          </button>
        )}
      </>
    );
  if (job.value?.status === 'done') return 'Look inside tells why each thing stands where it does.';
  return doc.value.prompt.trim() ? '' : 'Say what to draw, or place a thing on the canvas.';
}
