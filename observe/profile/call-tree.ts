/** A function called by a chain of functions. */
export class CallNode {
  /** From 0 on; higher than its parent's. */
  readonly index: number;
  readonly parent: CallNode | undefined;
  /** Where the function starts; a name instead for roots that are no functions. */
  readonly entry: number | string;
  /** The call site in the caller: a site's index and 1; 0 for none. */
  readonly caller: number;
  /** Another node with the same parent and caller. */
  readonly sibling: CallNode | undefined;
  #only: CallNode | undefined;
  #children: Map<number, CallNode> | undefined;

  constructor(
    index: number,
    parent: CallNode | undefined,
    entry: number | string,
    caller: number,
    sibling: CallNode | undefined,
  ) {
    this.index = index;
    this.parent = parent;
    this.entry = entry;
    this.caller = caller;
    this.sibling = sibling;
  }

  /** The node that was last added for a caller. */
  #called(caller: number): CallNode | undefined {
    return this.#children === undefined ? this.#only : this.#children.get(caller);
  }

  find(entry: number | string, caller: number): CallNode | undefined {
    let child = this.#called(caller);
    while (child !== undefined && (child.entry !== entry || child.caller !== caller)) child = child.sibling;
    return child;
  }

  add(index: number, entry: number | string, caller: number): CallNode {
    const only = this.#only;
    // Most functions call one other, this way.
    if (only !== undefined && only.caller !== caller) {
      this.#children ??= new Map([[only.caller, only]]);
      this.#only = undefined;
    }
    const child = new CallNode(index, this, entry, caller, this.#called(caller));
    if (this.#children === undefined) this.#only = child;
    else this.#children.set(caller, child);
    return child;
  }
}

/** All chains of calls that there were. */
export class CallTree {
  readonly root = new CallNode(0, undefined, "", 0, undefined);
  /** By their indices: parents come first. */
  readonly nodes: CallNode[] = [this.root];
  readonly #limit: number;

  /** @param limit distinct chains of calls that are kept apart; beyond it, calls count for their caller */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** From now on chains of calls are no longer kept apart. */
  get isFull(): boolean {
    return this.nodes.length > this.#limit;
  }

  /** The function at `entry` called from a site of the parent's. */
  child(parent: CallNode, entry: number | string, caller: number): CallNode {
    const known = parent.find(entry, caller);
    if (known !== undefined) return known;
    if (this.isFull) return parent;
    const node = parent.add(this.nodes.length, entry, caller);
    this.nodes.push(node);
    return node;
  }
}
