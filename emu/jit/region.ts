import { Mnemonic } from "iced-x86";
import type { Instruction } from "../decode/instruction.ts";
import { type InstructionRow, rowOf } from "../semantics/index.ts";
import { addEntries } from "./entries.ts";
import { findJumpTable, type JumpTable, type TableSource } from "./jump-table.ts";
import { findLiveFlags, goesTo } from "./live-flags.ts";
import { loopsOf } from "./loops.ts";

/** Bound on a region, beside that of its instructions. */
const MAX_BLOCKS = 500;

/** How a block ends; `switch` is a jump through a table, `dispatch` goes on at one of several entries (entries.ts). */
export type BlockEnd = "next" | "jump" | "branch" | "switch" | "call" | "leave" | "dispatch";

/** A straight run of instructions that is entered only at its first. */
export interface RegionBlock {
  readonly address: number;
  readonly instructions: readonly { readonly instruction: Instruction; readonly row: InstructionRow }[];
  readonly end: BlockEnd;
  /** Branch target, if the end is a direct jump or branch. */
  readonly target: number | undefined;
  /** Where it may jump, if the end is a switch. */
  readonly table: JumpTable | undefined;
  /** Where it goes on: behind the last instruction (after a call, a branch not taken, or simply next). */
  readonly next: number | undefined;
  /** Place in reverse postorder, set by `order`. */
  index: number;
  /** Blocks of the region that it goes to. */
  successors: RegionBlock[];
  predecessors: RegionBlock[];
  /** Immediate dominator; the entry's is itself. */
  dominator: RegionBlock;
  /** A later block jumps back to it. */
  isLoopHeader: boolean;
  /** Two or more forward edges come in, or one of a table or dispatch. */
  isMerge: boolean;
  /** The thread's time is looked at before it runs. */
  checksFuel: boolean;
  /** Status flags that may be read before they are written, from its start on. */
  flagsIn: number;
  /** The same at its end. */
  flagsOut: number;
  /** Number of the entry that it is, from 1 on; 0 if it is none but the region's first. */
  entry: number;
  /** Of a dispatch: where each entry is reached by way of this block; 0 is where it goes on if none is wanted. */
  readonly ways: Map<number, RegionBlock>;
}

export interface Region {
  /** Where everything starts: the first block, or the dispatch before it. */
  readonly root: RegionBlock;
  /** The first block that has instructions. */
  readonly start: RegionBlock;
  /** Blocks at which it may be entered beside the start, in order of their numbers. */
  readonly entries: readonly RegionBlock[];
  /** In reverse postorder, the root first. */
  readonly blocks: readonly RegionBlock[];
  readonly instructionCount: number;
  readonly flagsDieAtCalls: boolean;
}

/** What discovery asks about the code. */
export interface CodeSource extends TableSource {
  /** The instruction at an address; undefined if there is none that can be translated. */
  instructionAt(address: number): Instruction | undefined;
  /**
   * Are the status flags scratch at returns, and at calls unless they are read behind them? So it is in Go (Go internal ABI
   * specification, "Flags"), whose functions the symbol table knows; of other code nothing is assumed.
   */
  readonly flagsDieAtCalls: boolean;
  /** Most instructions of the region. */
  readonly limit: number;
}

const CALLS = new Set<Mnemonic>([Mnemonic.Call]);

/** Finds the blocks reachable from an entry without leaving its function, in an order that structured code can take. */
export function discoverRegion(entry: number, source: CodeSource): Region | undefined {
  const instructions = new Map<number, { instruction: Instruction; row: InstructionRow }>();
  const tables = new Map<number, JumpTable>();
  const leaders = new Set<number>([entry]);
  const work = [entry];
  let blockBudget = MAX_BLOCKS;
  while (work.length > 0 && blockBudget-- > 0) {
    const before: Instruction[] = [];
    for (let at = work.shift() as number; !instructions.has(at); ) {
      if (instructions.size >= source.limit) break;
      const instruction = source.instructionAt(at);
      const row = instruction === undefined ? undefined : rowOf(instruction);
      if (instruction === undefined || row === undefined) break;
      instructions.set(at, { instruction, row });
      const next = at + instruction.length;
      if (row.ends) {
        const [operand] = instruction.operands;
        const target = operand?.kind === "branch" ? Number(operand.value) : undefined;
        const end = endOf(instruction);
        const targets: number[] = [];
        if (target !== undefined && end !== "call") targets.push(target);
        if (end === "branch" || end === "call") targets.push(next);
        if (end === "leave" && instruction.mnemonic === Mnemonic.Jmp) {
          const table = findJumpTable(before, instruction, source);
          if (table !== undefined) tables.set(at, table);
          targets.push(...(table?.targets ?? []));
        }
        for (const address of targets) {
          if (!source.contains(address) || leaders.has(address)) continue;
          leaders.add(address);
          work.push(address);
        }
        break;
      }
      if (!source.contains(next)) break;
      before.push(instruction);
      at = next;
    }
  }
  if (!instructions.has(entry)) return undefined;
  const blocks = new Map<number, RegionBlock>();
  for (const address of leaders)
    if (instructions.has(address)) blocks.set(address, makeBlock(address, instructions, leaders, tables));
  const start = blocks.get(entry) as RegionBlock;
  const first = connect(start, blocks);
  for (const block of first) block.checksFuel = block.isLoopHeader || block === start;
  const { root, entries } = addEntries(start, first);
  const ordered = root === start ? first : order(root);
  findLiveFlags(ordered, source);
  return {
    root,
    start,
    entries,
    blocks: ordered,
    instructionCount: instructions.size,
    flagsDieAtCalls: source.flagsDieAtCalls,
  };
}

function endOf(instruction: Instruction): BlockEnd {
  if (CALLS.has(instruction.mnemonic)) return "call";
  const direct = instruction.operands[0]?.kind === "branch";
  if (!direct) return "leave";
  return instruction.mnemonic === Mnemonic.Jmp ? "jump" : "branch";
}

function makeBlock(
  address: number,
  all: ReadonlyMap<number, { instruction: Instruction; row: InstructionRow }>,
  leaders: ReadonlySet<number>,
  tables: ReadonlyMap<number, JumpTable>,
): RegionBlock {
  const list: { instruction: Instruction; row: InstructionRow }[] = [];
  let at = address;
  for (;;) {
    const item = all.get(at);
    if (item === undefined || (list.length > 0 && leaders.has(at))) break;
    list.push(item);
    at += item.instruction.length;
    if (item.row.ends) break;
  }
  const last = list[list.length - 1];
  const table = tables.get(last.instruction.address);
  const end = !last.row.ends ? "next" : table !== undefined ? "switch" : endOf(last.instruction);
  const [operand] = last.instruction.operands;
  return {
    ...emptyBlock(address),
    instructions: list,
    end,
    target: last.row.ends && operand?.kind === "branch" ? Number(operand.value) : undefined,
    table,
    next: end === "jump" || end === "leave" || end === "switch" ? undefined : at,
  };
}

/** A block without instructions, which is in no order yet. */
export function emptyBlock(address: number): RegionBlock {
  return {
    address,
    instructions: [],
    end: "dispatch",
    target: undefined,
    table: undefined,
    next: undefined,
    index: -1,
    successors: [],
    predecessors: [],
    dominator: undefined as unknown as RegionBlock,
    isLoopHeader: false,
    isMerge: false,
    checksFuel: false,
    flagsIn: 0,
    flagsOut: 0,
    entry: 0,
    ways: new Map(),
  };
}

/** Finds what follows what; the blocks in reverse postorder. */
function connect(start: RegionBlock, blocks: ReadonlyMap<number, RegionBlock>): RegionBlock[] {
  const reached = new Map<RegionBlock, number>();
  for (const block of blocks.values()) {
    const to = [...goesTo(block), block.next];
    const found = to.flatMap((address) => (address === undefined ? [] : (blocks.get(address) ?? [])));
    block.successors = [...new Set(found)];
    for (const successor of block.successors) reached.set(successor, (reached.get(successor) ?? 0) + 1);
  }
  // Go's functions go back to their start when the stack has grown: as a loop that would be a burden on all the rest.
  for (const block of blocks.values()) {
    if (block.end !== "call" || block.next === undefined) continue;
    const after = blocks.get(block.next);
    if (after !== undefined && after.end === "jump")
      after.successors = after.successors.filter((successor) => successor !== start);
  }
  // Many calls do not return (panics), and what stands behind them is code of its own, often inside a loop: a way into
  // that loop that is none. So where there is another way to it, the call's counts only if it comes from inside too.
  const doubtful = [...blocks.values()].flatMap((block) => {
    const [after] = block.successors;
    if (block.end !== "call" || after === undefined || reached.get(after) === 1) return [];
    block.successors = [];
    return [{ block, after }];
  });
  const ordered = order(start);
  const loops = loopsOf(ordered);
  let changed = false;
  for (const { block, after } of doubtful) {
    if (loops.some(({ header, body }) => after !== header && body.has(after) && !body.has(block))) continue;
    block.successors = [after];
    changed = true;
  }
  return changed ? order(start) : ordered;
}

/** Numbers the blocks, finds dominators, loops and merges; edges that no structured code can have are cut. */
function order(root: RegionBlock): RegionBlock[] {
  const postorder: RegionBlock[] = [];
  const seen = new Set<RegionBlock>();
  // Depth first, without recursion: chains of blocks may be long.
  const stack: { block: RegionBlock; rest: RegionBlock[] }[] = [];
  const visit = (block: RegionBlock): void => {
    seen.add(block);
    stack.push({ block, rest: [...block.successors] });
  };
  visit(root);
  while (stack.length > 0) {
    const top = stack[stack.length - 1];
    const next = top.rest.pop();
    if (next === undefined) {
      postorder.push(top.block);
      stack.pop();
    } else if (!seen.has(next)) visit(next);
  }
  const ordered = postorder.reverse();
  for (const [index, block] of ordered.entries()) {
    block.index = index;
    block.predecessors = [];
  }
  for (const block of ordered) for (const successor of block.successors) successor.predecessors.push(block);
  findDominators(root, ordered);
  for (const block of ordered) {
    block.successors = block.successors.filter((successor) => {
      if (successor.index > block.index || dominates(successor, block)) return true;
      // Into the middle of a loop: such an edge leaves the region instead.
      successor.predecessors = successor.predecessors.filter((other) => other !== block);
      return false;
    });
  }
  findDominators(root, ordered);
  const isChosen = new Set(ordered.flatMap((from) => chosenFrom(from, root)));
  for (const block of ordered) {
    block.isLoopHeader = block.predecessors.some((other) => other.index >= block.index);
    const forward = block.predecessors.filter((other) => other.index < block.index);
    block.isMerge = forward.length > 1 || isChosen.has(block);
  }
  return ordered;
}

/** Blocks further on that a block goes to by a table of branches. */
function chosenFrom(from: RegionBlock, root: RegionBlock): RegionBlock[] {
  const chosen = from.end === "switch" ? [...from.successors] : [];
  for (const [entry, to] of from.ways) if (entry !== 0 || from === root) chosen.push(to);
  return chosen.filter((to) => to.index > from.index && to.predecessors.includes(from));
}

/** Cooper, Harvey, Kennedy, "A Simple, Fast Dominance Algorithm". */
function findDominators(entry: RegionBlock, ordered: readonly RegionBlock[]): void {
  for (const block of ordered) block.dominator = undefined as unknown as RegionBlock;
  entry.dominator = entry;
  const meet = (a: RegionBlock, b: RegionBlock): RegionBlock => {
    while (a !== b) {
      while (a.index > b.index) a = a.dominator;
      while (b.index > a.index) b = b.dominator;
    }
    return a;
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (const block of ordered) {
      if (block === entry) continue;
      let dominator: RegionBlock | undefined;
      for (const predecessor of block.predecessors) {
        if (predecessor.dominator === undefined) continue;
        dominator = dominator === undefined ? predecessor : meet(predecessor, dominator);
      }
      if (dominator !== undefined && block.dominator !== dominator) {
        block.dominator = dominator;
        changed = true;
      }
    }
  }
}

/** Do all ways from the start to `b` lead through `a`? */
export function dominates(a: RegionBlock, b: RegionBlock): boolean {
  let at = b;
  while (at.index > a.index) at = at.dominator;
  return at === a;
}
