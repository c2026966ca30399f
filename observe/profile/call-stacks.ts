import { type CallNode, CallTree } from "./call-tree.ts";

export interface LiveFrame {
  /** How far its return address lies below the top of the stack: stays when the stack is moved. */
  readonly depth: number;
  readonly entry: number;
  /** Where it was called (CallNode.caller). */
  readonly caller: number;
  node: CallNode;
  /** It began on another stack: the node is the one from there, and does not depend on what is below here. */
  readonly linked: boolean;
  /** The block that ran last in it, the one that calls: blockKey. */
  last: number;
}

export interface CallStack {
  readonly frames: LiveFrame[];
  root: CallNode;
}

/** Where the running thread is. Addresses. */
export interface Position {
  /** Of its CPU state. */
  cpu: number;
  /** Where it goes on. */
  start: number;
  sp: number;
  /** The low half of its fuel. */
  fuel: number;
  /** Go's g, and the bounds of its stack; 0 where there is none. */
  g: number;
  low: number;
  high: number;
}

/** A place in the code, and where its function starts; -1 for none. */
interface CodePlace {
  readonly start: number;
  readonly entry: number;
}

/** What is known about the program's functions. */
export interface CalledFunctions {
  /** Start of the function that holds an address; -1 for none. */
  entryOf(address: number): number;
  /** The site of the last instruction of a block (blockKey), as CallNode.caller; 0 for no block. */
  siteOf(block: number): number;
  /** Starts of the functions that go over to g0's stack and come back (Go runtime/asm_amd64.s). */
  readonly switches: ReadonlySet<number>;
  readonly mcall: number | undefined;
}

/** The calls that are under way, by the stack pointer: one stack for each goroutine. */
export class CallStacks {
  readonly tree: CallTree;
  readonly at: Position = { cpu: 0, start: 0, sp: 0, fuel: 0, g: 0, low: 0, high: 0 };
  readonly #functions: CalledFunctions;
  readonly #goroutineName: ((g: number) => string) | undefined;
  readonly #stacks = new Map<number, CallStack>();
  /** Whose block was the last, and on which stack. */
  #last: { readonly cpu: number; readonly key: number; readonly stack: CallStack } | undefined;
  /** The stack that each thread used last, by the address of its CPU state. */
  readonly #lastStacks = new Map<number, CallStack>();

  /** @param limit see CallTree @param goroutineName names the goroutine of a g, for the root of its stacks; without it they have none */
  constructor(limit: number, functions: CalledFunctions, goroutineName?: (g: number) => string) {
    this.tree = new CallTree(limit);
    this.#functions = functions;
    this.#goroutineName = goroutineName;
  }

  /** The stack that a thread used last, if it has run. */
  current(cpu: number): CallStack | undefined {
    return this.#lastStacks.get(cpu);
  }

  /** Does the thread run on a stack that is not its g's? */
  get #isForeign(): boolean {
    const { sp, low, high } = this.at;
    return high !== 0 && (sp > high || sp < low);
  }

  /** How far below the top of the running thread's stack an address is. */
  depthOf(rsp: number): number {
    return this.#isForeign ? -rsp : this.at.high - rsp;
  }

  /** The stack that the thread runs a block on, with the calls brought up to date. */
  enter(block: CodePlace): CallStack {
    const { cpu, sp, g, high } = this.at;
    // A signal handler on its own stack, before it has set g; and the first thread before its stack is known.
    const isForeign = this.#isForeign;
    const key = high === 0 ? -cpu : isForeign ? -g : g;
    const depth = isForeign ? -sp : high - sp;
    const last = this.#last;
    if (last !== undefined && last.cpu === cpu && last.key === key && this.#goroutineName === undefined) {
      const { frames } = last.stack;
      const top = frames.length > 0 ? frames[frames.length - 1] : undefined;
      // Within the function that the thread was in.
      const isSame = top?.entry === block.entry && top.depth <= depth;
      if (isSame && (block.start !== block.entry || top.depth === depth)) return last.stack;
    }
    const stack = this.#stacks.get(key) ?? this.#newStack(key, cpu, high);
    if (this.#goroutineName !== undefined) this.#setRoot(stack, this.#goroutineName(g));
    this.#follow(stack, block.start, depth, this.#lastStacks.get(cpu));
    this.#lastStacks.set(cpu, stack);
    this.#last = { cpu, key, stack };
    return stack;
  }

  /** A stack that was not seen before; one whose bounds have only now become known keeps its frames. */
  #newStack(key: number, cpu: number, high: number): CallStack {
    const stack: CallStack = { frames: [], root: this.tree.root };
    const unnamed = this.#stacks.get(-cpu);
    if (key > 0 && unnamed !== undefined && this.#lastStacks.get(cpu) === unnamed) {
      for (const frame of unnamed.frames) stack.frames.push({ ...frame, depth: frame.depth + high });
      this.#stacks.delete(-cpu);
      this.#lastStacks.set(cpu, stack);
    }
    this.#stacks.set(key, stack);
    return stack;
  }

  #setRoot(stack: CallStack, name: string): void {
    if (stack.root.entry === name) return;
    stack.root = this.tree.child(this.tree.root, name, 0);
    let node = stack.root;
    for (const frame of stack.frames) {
      if (frame.linked) break;
      node = this.tree.child(node, frame.entry, frame.caller);
      frame.node = node;
    }
  }

  #follow(stack: CallStack, start: number, depth: number, before: CallStack | undefined): void {
    const { frames } = stack;
    if (before !== undefined && before !== stack && this.#switchStack(stack, start, depth, before)) return;
    /** The frame that was called from another stack, if the code is back from it. */
    let left: LiveFrame | undefined;
    while (frames.length > 0 && frames[frames.length - 1].depth > depth) left = frames.pop();
    const entry = this.#functions.entryOf(start);
    const top = frames.at(-1);
    if (top?.entry === entry && (start !== entry || top.depth === depth)) return;
    if (start !== entry) {
      // Into the middle of a function: back to one that is there, or one whose call was not seen.
      const known = frames.findLastIndex((frame) => frame.entry === entry);
      if (known >= 0) {
        frames.length = known + 1;
        return;
      }
      const caller = left?.linked && this.#functions.switches.has(entry) ? left.node.parent : undefined;
      if (caller !== undefined) {
        frames.push({ depth, entry, caller: caller.caller, node: caller, linked: true, last: 0 });
        return;
      }
    } else if (top !== undefined && top.depth === depth) {
      // A jump instead of a call: it takes the place of what was called.
      frames.pop();
      const { caller, linked } = top;
      const node = this.tree.child(top.node.parent ?? stack.root, entry, caller);
      frames.push({ depth, entry, caller, node, linked, last: 0 });
      return;
    }
    const parent = frames.at(-1);
    const caller = this.#functions.siteOf(parent?.last ?? 0);
    const node = this.tree.child(parent?.node ?? stack.root, entry, caller);
    frames.push({ depth, entry, caller, node, linked: false, last: 0 });
  }

  /**
   * A function is entered on another stack than its caller's: systemstack and morestack call on g0's, mcall leaves the
   * goroutine. What they called there before is over. Returns whether it was a call.
   */
  #switchStack(stack: CallStack, start: number, depth: number, before: CallStack): boolean {
    const from = before.frames.at(-1);
    const entry = this.#functions.entryOf(start);
    if (from === undefined) return false;
    const isCall = this.#functions.switches.has(from.entry);
    // Back on the goroutine's stack; or what runs on g0's was not called from there.
    if ((!isCall && from.entry !== this.#functions.mcall) || (start !== entry && entry !== from.entry)) return false;
    if (start !== entry && stack.frames.some((frame) => frame.entry === entry && !frame.linked)) return false;
    const linked = stack.frames.findIndex((frame) => frame.linked);
    if (linked >= 0) stack.frames.length = linked;
    if (!isCall) return false;
    if (start !== entry) {
      // The function itself goes on there.
      stack.frames.push({ ...from, depth, linked: true });
      return true;
    }
    const caller = this.#functions.siteOf(from.last);
    const node = this.tree.child(from.node, entry, caller);
    stack.frames.push({ depth, entry, caller, node, linked: true, last: 0 });
    return true;
  }
}
