import type { Action } from "../debugger/events.ts";

/** Thread that a packet is about: a number, or all or any of them. */
export type ThreadSelector = number | "all" | "any";

/** A thread-id (gdb manual, "Packets", thread-id): `p1.2`, `2`, `-1`, `0`; undefined if it is none. */
export function parseThreadId(text: string): ThreadSelector | undefined {
  const match = /^(?:p(-1|[0-9a-f]{1,12})(?:\.(-1|[0-9a-f]{1,12}))?|(-1|[0-9a-f]{1,12}))$/i.exec(text);
  if (match === null) return undefined;
  const [, process, thread, plain] = match;
  const id = plain ?? thread ?? (process === "-1" ? "-1" : "-1");
  if (id === "-1") return "all";
  const value = Number.parseInt(id, 16);
  return value === 0 ? "any" : value;
}

/** One action of vCont with the threads that it is for. */
export interface Resumption {
  readonly action: Action;
  readonly threads: ThreadSelector;
}

/** The actions of a vCont packet without its name, signals as `signalOf` reads their numbers; undefined if it is malformed or asks for what is not offered. */
export function parseVCont(text: string, signalOf: (number: number) => number | undefined): Resumption[] | undefined {
  const resumptions: Resumption[] = [];
  for (const piece of text.split(";")) {
    const colon = piece.indexOf(":");
    const action = parseAction(colon < 0 ? piece : piece.slice(0, colon), signalOf);
    const threads = colon < 0 ? "all" : parseThreadId(piece.slice(colon + 1));
    if (action === undefined || threads === undefined) return undefined;
    resumptions.push({ action, threads });
  }
  return resumptions;
}

function parseAction(text: string, signalOf: (number: number) => number | undefined): Action | undefined {
  const match = /^(?:([cst])|([CS])([0-9a-f]{2})|r([0-9a-f]{1,16}),([0-9a-f]{1,16}))$/i.exec(text);
  if (match === null) return undefined;
  const [, plain, withSignal, signalText, start, end] = match;
  if (start !== undefined) {
    return { kind: "step", range: { start: Number.parseInt(start, 16), end: Number.parseInt(end, 16) } };
  }
  if (withSignal !== undefined) {
    const number = Number.parseInt(signalText, 16);
    const signal = number === 0 ? 0 : signalOf(number);
    if (signal === undefined) return undefined;
    return { kind: withSignal === "C" ? "continue" : "step", signal };
  }
  if (plain === "t") return { kind: "stop" };
  return { kind: plain === "c" ? "continue" : "step" };
}

/** What a thread is to do: the first action that names it, else it stays where it is. */
export function actionFor(resumptions: readonly Resumption[], id: number): Action {
  const found = resumptions.find(({ threads }) => threads === "all" || threads === "any" || threads === id);
  return found?.action ?? { kind: "stop" };
}
