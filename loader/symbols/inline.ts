import type { PcLineTable } from "./pclntab.ts";

/** One frame of the source at an address: the function and the place in it, as a traceback shows it. */
export interface SourceFrame {
  readonly name: string;
  readonly file: string | undefined;
  readonly line: number | undefined;
}

/** Where a Go release keeps the inlining tree (Go runtime/symtab.go and runtime2.go of each release). */
interface InlineLayout {
  /** PCDATA_InlTreeIndex */
  readonly pcdata: number;
  /** FUNCDATA_InlTree */
  readonly funcdata: number;
  /** Index of the word of _func that holds nfuncdata, counted from the one after the entry. */
  readonly countWord: number;
  /** Whether that word is a 32-bit count; otherwise its last byte is the count. */
  readonly countIsWord: boolean;
  /** Size of one inlinedCall. */
  readonly callSize: number;
  /** Offset of the name in inlinedCall. */
  readonly nameOffset: number;
  /** Offset of parentPc in inlinedCall; undefined where the call site is given by parent, file and line instead. */
  readonly parentPc: number | undefined;
}

const LAYOUT_1_9: InlineLayout = {
  pcdata: 1,
  funcdata: 2,
  countWord: 7,
  countIsWord: true,
  callSize: 16,
  nameOffset: 12,
  parentPc: undefined,
};
const LAYOUT_1_12: InlineLayout = { ...LAYOUT_1_9, countIsWord: false, callSize: 20, parentPc: 16 };
const LAYOUT_1_13: InlineLayout = { ...LAYOUT_1_12, pcdata: 2, funcdata: 4 };
const LAYOUT_1_16: InlineLayout = { ...LAYOUT_1_13, funcdata: 3, countWord: 8 };
const LAYOUT_1_20: InlineLayout = { ...LAYOUT_1_16, countWord: 9, callSize: 16, nameOffset: 4, parentPc: 8 };

/** More levels of inlining than a compiler makes: the tree is damaged. */
const DEPTH_LIMIT = 1000;

/** `goMinor` is N of Go 1.N; only the oldest table format needs it. */
function layoutOf(table: PcLineTable, goMinor: number | undefined): InlineLayout | undefined {
  switch (table.version) {
    case "1.20":
      return LAYOUT_1_20;
    case "1.18":
    case "1.16":
      return LAYOUT_1_16;
    default:
      if (goMinor === undefined || goMinor < 9) {
        return undefined;
      }
      return goMinor < 12 ? LAYOUT_1_9 : goMinor < 13 ? LAYOUT_1_12 : LAYOUT_1_13;
  }
}

/**
 * The functions that the instruction at `address` (as linked) belongs to: the innermost inlined one first, the
 * function that holds the code last (Go runtime/symtabinl.go, inlineUnwinder). Empty when no function holds it.
 */
export function inlineStack(table: PcLineTable, address: number, goMinor: number | undefined): SourceFrame[] {
  const index = table.indexOf(address);
  if (index === undefined) {
    return [];
  }
  const at = (pc: number) => ({ file: table.file(index, pc), line: table.line(index, pc) });
  const outermost = (pc: number): SourceFrame => ({ name: table.name(index), ...at(pc) });
  const layout = layoutOf(table, goMinor);
  const tree = layout === undefined ? undefined : inlineTree(table, index, layout);
  if (layout === undefined || tree === undefined) {
    return [outermost(address)];
  }
  const frames: SourceFrame[] = [];
  const seen = new Set<number>();
  // Go's compiler may not know where a call was that nothing is left of but its body, as in the `init` of variables that
  // are laid out when the program is built. It then says that it was at the function's first byte, which itself may
  // belong to the body: the tree goes round there. Of the function around it no more than the name is known.
  const isRound = (position: number): boolean => seen.size === seen.add(position).size || seen.size > DEPTH_LIMIT;
  const unknown: SourceFrame = { name: table.name(index), file: undefined, line: undefined };
  const call = (position: number) => table.image.place(tree.address + position * layout.callSize);
  if (layout.parentPc === undefined) {
    let place = at(address);
    let position = table.pcValue(tree.indexTable, index, address);
    while (position >= 0) {
      if (isRound(position)) return [...frames, unknown];
      const { reader, offset } = call(position);
      frames.push({ name: table.nameAt(reader.i32(offset + layout.nameOffset)), ...place });
      place = { file: table.fileName(index, reader.i32(offset + 4)), line: reader.i32(offset + 8) };
      position = reader.i32(offset);
    }
    return [...frames, { name: table.name(index), ...place }];
  }
  let pc = address;
  for (;;) {
    const position = table.pcValue(tree.indexTable, index, pc);
    if (position < 0) {
      return [...frames, outermost(pc)];
    }
    if (isRound(position)) return [...frames, unknown];
    const { reader, offset } = call(position);
    frames.push({ name: table.nameAt(reader.i32(offset + layout.nameOffset)), ...at(pc) });
    pc = table.entry(index) + reader.i32(offset + layout.parentPc);
  }
}

interface InlineTree {
  /** Linked address of the inlinedCall array. */
  readonly address: number;
  /** Offset of the pc-value table that gives an instruction's index into it. */
  readonly indexTable: number;
}

/** Go runtime/symtab.go, funcdata() and pcdatastart(); undefined when nothing is inlined into the function. */
function inlineTree(table: PcLineTable, index: number, layout: InlineLayout): InlineTree | undefined {
  const { reader } = table;
  const pcdataCount = reader.u32(table.fieldOffset(index, 6));
  const countAt = table.fieldOffset(index, layout.countWord);
  const funcdataCount = layout.countIsWord ? reader.u32(countAt) : reader.u8(countAt + 3);
  if (pcdataCount <= layout.pcdata || funcdataCount <= layout.funcdata) {
    return undefined;
  }
  const pcdata = countAt + 4;
  const indexTable = reader.u32(pcdata + layout.pcdata * 4);
  const funcdata = pcdata + pcdataCount * 4;
  const address = funcdataAddress(table, funcdata, layout.funcdata);
  return indexTable === 0 || address === undefined ? undefined : { address, indexTable };
}

function funcdataAddress(table: PcLineTable, funcdata: number, slot: number): number | undefined {
  const { reader, version } = table;
  if (version === "1.18" || version === "1.20") {
    const offset = reader.u32(funcdata + slot * 4);
    const gofunc = table.moduleData?.gofunc;
    return offset === 0xffff_ffff || gofunc === undefined ? undefined : gofunc + offset;
  }
  // Pointers, aligned to 8 by address.
  const aligned = Math.ceil((table.address + funcdata) / 8) * 8 - table.address;
  const pointer = reader.u64(aligned + slot * 8);
  return pointer === 0 ? undefined : pointer;
}
