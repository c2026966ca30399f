import { ByteSink } from "./byte-sink.ts";
import { FunctionTree } from "./function-tree.ts";
import { type Profile, ROOT } from "./profile.ts";

/** What is handed over at a time. */
const PIECE = 1 << 20;

/**
 * Stacks as Brendan Gregg's tools take them, a line each: functions from the root on, separated by semicolons, and the
 * count.
 * @returns the text in pieces of whole lines: all of it may be more than a string can hold
 */
export function* foldedStacks(profile: Profile): Generator<Uint8Array> {
  const tree = new FunctionTree(profile);
  const encoder = new TextEncoder();
  const encoded = new Map<string, Uint8Array>();
  const textOf = (name: string): Uint8Array => {
    let bytes = encoded.get(name);
    if (bytes === undefined) {
      bytes = encoder.encode(name.replaceAll(";", ":"));
      encoded.set(name, bytes);
    }
    return bytes;
  };
  const separator = encoder.encode(";");
  const out = new ByteSink();
  /** The functions that lead to a node, and how long that is up to each of them. */
  const path = new ByteSink();
  const pending = [...callees(tree, ROOT, 0)];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { node, above } = next;
    path.length = above;
    if (above > 0) path.write(separator);
    path.write(textOf(tree.nameOf(node)));
    const instructions = tree.instructionsIn(node);
    if (instructions > 0) {
      out.write(path.bytes);
      out.write(encoder.encode(` ${instructions}\n`));
    }
    pending.push(...callees(tree, node, path.length));
    if (out.length < PIECE) continue;
    yield out.bytes.slice();
    out.length = 0;
  }
  if (out.length > 0) yield out.bytes.slice();
}

/** The functions that a node's called, the last by name first. @param above how long the way to them is */
function callees(tree: FunctionTree, node: number, above: number): { node: number; above: number }[] {
  return tree
    .calleesOf(node)
    .map((callee) => ({ node: callee, above }))
    .reverse();
}
