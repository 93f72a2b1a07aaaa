/** Pieces: what each answer has grown by, and when we saw it. */
import { useEffect, useState } from "react";

/** The pieces of all turns, by turn, after what is known of them now. */
export const grown = (before, turns, at) =>
  Object.fromEntries(turns.filter(({ turn }) => turn).map(({ turn, answer }) => [turn, one(before[turn] ?? [], answer, at)]));

function one(pieces, answer, at) {
  const text = pieces.map((piece) => piece.text).join("");
  if (text === answer) return pieces;
  return answer.startsWith(text) ? [...pieces, { at, text: answer.slice(text.length) }] : [{ at, text: answer }];
}

export function usePieces(turns) {
  const [pieces, setPieces] = useState({});
  useEffect(() => {
    const at = new Date();
    setPieces((before) => grown(before, turns, at));
  }, [turns]);
  return pieces;
}
