/** All turns on the page (#turns), and the reader's place in them. */
import { byId, setChildren } from "./dom.js";
import { createArticle, drawTurn } from "./turn.js";

const NEAR_END_PX = 64; // from the end, within which a reader follows what is written

const articles = new Map(); // by the question's id, so that an article stays when its question enters the log
let isFollowing = true;
let lastScrollY = 0;

const distanceToEnd = () => document.documentElement.scrollHeight - innerHeight - scrollY;

/**
 * Draws rows. A reader who follows is scrolled to the end; one who doesn't stays where they are.
 *
 * @param {(import("../rows.js").Row & { isOffline?: boolean })[]} rows
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
  if (isFollowing) scrollToEnd();
  byId("latest").hidden = isFollowing || distanceToEnd() < NEAR_END_PX;
}

function scrollToEnd() {
  scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
}

/** Makes the reader follow what is written, until they scroll up. */
export function followEnd() {
  isFollowing = true;
}

/**
 * Draws what comes above all that is shown, and scrolls so that the reader's place stays.
 *
 * @param {() => unknown} draw
 */
export async function drawAbove(draw) {
  const before = document.documentElement.scrollHeight;
  isFollowing = false;
  await draw();
  scrollBy({ top: document.documentElement.scrollHeight - before, behavior: "instant" });
}

function onScroll() {
  const isScrollingDown = scrollY >= lastScrollY;
  isFollowing = distanceToEnd() < NEAR_END_PX || (isFollowing && isScrollingDown);
  lastScrollY = scrollY;
  byId("latest").hidden = isFollowing;
}

/** A reader who opens or closes what a turn has thought follows on only where the end is still near. */
function onToggle() {
  isFollowing = distanceToEnd() < NEAR_END_PX;
  byId("latest").hidden = isFollowing;
}

addEventListener("scroll", onScroll, { passive: true });
byId("turns").addEventListener("toggle", onToggle, { capture: true }); // it does not bubble
