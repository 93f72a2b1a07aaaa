/** Parts of `<ask-bot>`: elements that a page can style by their names, as `::part(name)`. */

/** Returns an element that is a part. A button has the name of the method that it calls. */
export function createPart(tag, name, ...content) {
  const element = Object.assign(document.createElement(tag), { part: name, name });
  element.append(...content);
  return element;
}

/** Returns a slot, with what is shown where nothing is put into it. */
export function createSlot(name, ...content) {
  const slot = Object.assign(document.createElement("slot"), { name });
  slot.append(...content);
  return slot;
}

/** Sets an element's text, where it is not the same: a status that is set is read aloud. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Says of a button whether what it does was asked for and is not done yet: it then does nothing, but keeps the focus. */
export function setPending(button, isPending, text) {
  setText(button, text);
  button.ariaDisabled = button.ariaBusy = String(isPending);
}
