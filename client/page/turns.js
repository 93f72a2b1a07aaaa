/** The turns, drawn: #turns, and the reader's place in it. */
import { $, order } from "./dom.js";
import { article, draw } from "./turn.js";

const NEAR = 64; // pixels from the end that count as reading along

const articles = new Map(); // by the question's id, so that an article stays when the log takes its question
let following = true;
let height = 0;

const left = () => document.documentElement.scrollHeight - innerHeight - scrollY;

/** Draw what is shown; who reads along sees the end of it, and who doesn't stays where they are. */
export function drawTurns(rows) {
  const shown = rows.map((turn) => {
    const key = turn.id ?? turn.turn;
    const element = articles.get(key) ?? article();
    articles.set(key, element);
    draw(element, turn);
    return element;
  });
  order($("turns"), shown);
  for (const [key, element] of articles) if (!element.isConnected) articles.delete(key);
  if (following) toEnd();
  $("latest").hidden = following || left() < NEAR;
}

function toEnd() {
  scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
}

/** From now on, until somebody scrolls up. */
export function follow() {
  following = true;
}

/** Draw what comes above all others, and stay with what was read. */
export async function above(drawn) {
  const before = document.documentElement.scrollHeight;
  following = false;
  await drawn();
  scrollBy({ top: document.documentElement.scrollHeight - before, behavior: "instant" });
}

addEventListener("scroll", () => {
  following = left() < NEAR || (following && scrollY >= height);
  height = scrollY;
  $("latest").hidden = following;
}, { passive: true });
