// Two pictures over each other, and a slider between them.
import { useEffect, useRef, useState } from 'preact/hooks';
import { url } from '../api';
import { comparing, gallery, isComparing } from '../store';
import { IconButton } from './bits';

export function Compare() {
  const dialog = useRef<HTMLDialogElement>(null);
  const [share, setShare] = useState(50);
  const open = isComparing.value && comparing.value.length === 2;
  useEffect(() => {
    if (open && !dialog.current?.open) dialog.current?.showModal();
    if (!open && dialog.current?.open) dialog.current.close();
  }, [open]);
  const [left = '', right = ''] = comparing.value;
  const told = (name: string) => gallery.value.find((one) => one.name === name);
  return (
    <dialog ref={dialog} class="compare" aria-labelledby="compare-title" onClose={() => (isComparing.value = false)}>
      {open && (
        <>
          <header>
            <h2 id="compare-title">Compare</h2>
            <IconButton icon="close" label="Close" onClick={() => (isComparing.value = false)} />
          </header>
          <div class="compare-stage" style={{ '--share': `${share}%` }}>
            <img src={url.image(right)} alt={`Right: ${right}`} />
            <img class="is-over" src={url.image(left)} alt={`Left: ${left}`} />
            <i aria-hidden="true" />
            <input type="range" min="0" max="100" value={share} aria-label="How much of the left picture is seen" onInput={(event) => setShare(Number(event.currentTarget.value))} />
          </div>
          <div class="compare-names">
            {[left, right].map((name) => (
              <p key={name}>
                <strong>{told(name)?.prompt ?? name}</strong>
                <br />
                <span class="quiet">
                  seed {told(name)?.seed ?? '–'} · {told(name)?.branches.join(' × ')}
                </span>
              </p>
            ))}
          </div>
        </>
      )}
    </dialog>
  );
}
