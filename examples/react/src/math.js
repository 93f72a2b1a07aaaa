/** Formulas, drawn by temml as MathML. */
import temml from "temml";

export function renderMath(tex, display) {
  const element = document.createElement("span");
  temml.render(tex, element, { displayMode: display });
  return element;
}
