/** All turns on the page (#turns), and the reader's place in them. */
import { Following } from "../following.js";
import { byId, setChildren } from "./dom.js";
import { createArticle, drawTurn } from "./turn.js";

const articles = new Map(); // by the question's id, so that an article stays when its question enters the log
const following = new Following(document, { content: document.body, onChange: drawLatest });

/** Shows the button that leads to the end, where there is something below that is not followed. */
function drawLatest() {
  byId("latest").hidden = following.isFollowing || following.isAtEnd;
}

/**
 * Draws rows. A reader who follows is scrolled to the end; one who doesn't stays where they are.
 *
 * @param {import("./turn.js").PageRow[]} rows
 */
export function drawTurns(rows) {
  const drawn = rows.map((turn) => {
    const key = turn.id ?? turn.turn;
    const article = articles.get(key) ?? createArticle();
    articles.set(key, article);
    drawTurn(article, turn);
    return article;
  });
  setChildren(byId("turns"), drawn);
  for (const [key, article] of articles) if (!article.isConnected) articles.delete(key);
  following.scroll();
  drawLatest();
}

/** Returns the article of a turn, or undefined. */
export function articleOf(turn) {
  return [...articles.values()].find(({ drawn }) => drawn.turn === turn);
}

/** Makes the reader follow what is written, until they scroll up. */
export function followEnd() {
  following.followEnd();
}

/**
 * Draws what comes above all that is shown, and scrolls so that the reader's place stays.
 *
 * @param {() => unknown} draw
 */
export async function drawAbove(draw) {
  const before = document.documentElement.scrollHeight;
  following.stay();
  await draw();
  scrollBy({ top: document.documentElement.scrollHeight - before, behavior: "instant" });
}

addEventListener("scroll", drawLatest, { passive: true });
