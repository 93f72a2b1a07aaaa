/**
 * Math: how a site draws formulas. The setting ASKBOT_PAGE_MODULE names a JavaScript module, which the server serves beside
 * the page; its export `renderMath(tex, display)` returns a Node. Without it, formulas stand as the model has written them.
 */
const link = document.querySelector("#page-module");

/** @type {((tex: string, display: boolean) => Node | null) | undefined} */
export let renderMath;

/** Loads the module, where the site has one. One that fails is as good as none. */
export async function loadRenderMath() {
  if (!link) return;
  try {
    ({ renderMath } = await import(link.href));
  } catch (error) {
    console.error(error);
  }
}
