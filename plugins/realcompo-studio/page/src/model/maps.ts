// Maps of a run, as the server sends them: bytes between a low and a high value.
import type { FieldMap } from '../api';

/** Values of a map, row by row. */
export function valuesOf(map: FieldMap): Float32Array {
  const bytes = atob(map.data);
  const values = new Float32Array(bytes.length);
  for (let k = 0; k < bytes.length; k++) values[k] = map.low + (bytes.charCodeAt(k) / 255) * (map.high - map.low);
  return values;
}

export function meanOf(map: FieldMap): number {
  const values = valuesOf(map);
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0;
}
