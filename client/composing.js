/** Composing: a syllable or word that an input method is still making, as for Korean, Japanese and Chinese. */

const COMPOSING_KEY_CODE = 229; // Safari reports the Enter that ends the composing only by this

/**
 * Returns whether a key belongs to the input method: it then neither submits nor cancels anything.
 *
 * @param {KeyboardEvent} event
 * @returns {boolean}
 */
export function isComposing(event) {
  return event.isComposing || event.keyCode === COMPOSING_KEY_CODE;
}
