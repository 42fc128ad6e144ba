// What was drawn: files on disk with their recipes. One press brings everything back; two can be compared.
import { moreGallery, reopen } from '../pictures';
import { comparing, exhibit, gallery, galleryTotal, isComparing } from '../store';
import { url } from '../api';
import { IconButton } from './bits';
import { Icon } from './icons';

export function Gallery() {
  const all = gallery.value;
  const chosen = comparing.value;
  if (!all.length)
    return (
      <div class="empty">
        <h2>Gallery</h2>
        <p>Nothing is drawn yet. Each picture that you draw is kept here with its recipe.</p>
        <p>Drop a picture that RealCompo drew anywhere on this page to go on from it.</p>
      </div>
    );
  const toggle = (name: string): void =>
    void (comparing.value = chosen.includes(name) ? chosen.filter((one) => one !== name) : [...chosen, name].slice(-2));
  return (
    <div class="gallery">
      <div class="gallery-head">
        <p class="quiet">Press a picture to bring its whole state back.</p>
        <button type="button" class="button is-small" disabled={chosen.length !== 2} onClick={() => (isComparing.value = true)}>
          <Icon name="compare" /> {chosen.length === 2 ? 'Compare' : `Compare (${chosen.length} of 2)`}
        </button>
      </div>
      <ul class="pictures">
        {all.map((picture) => (
          <li key={picture.name} class={exhibit.value?.picture === picture.name ? 'is-shown' : ''}>
            <button type="button" class="thumb" onClick={() => void reopen(picture.name)} aria-label={`Open ${picture.prompt || picture.name}${picture.seed === null ? '' : `, seed ${picture.seed}`}`}>
              <img src={url.thumbnail(picture.name)} alt="" loading="lazy" width="128" height="128" />
            </button>
            <span class="thumb-name" title={picture.prompt}>
              {picture.prompt || picture.name}
            </span>
            <IconButton
              icon="check"
              label={chosen.includes(picture.name) ? `Do not compare ${picture.name}` : `Choose ${picture.name} for comparing`}
              pressed={chosen.includes(picture.name)}
              class="pick"
              onClick={() => toggle(picture.name)}
            />
          </li>
        ))}
      </ul>
      {galleryTotal.value > all.length && (
        <button type="button" class="button is-wide" onClick={() => void moreGallery()}>
          {galleryTotal.value - all.length} more
        </button>
      )}
    </div>
  );
}
