import type { RegionMark } from "../emu/jit/compile.ts";
import type { RegionBlock } from "../emu/jit/region.ts";
import type { RegionReport } from "../emu/jit/tier.ts";
import { moduleText } from "../emu/wasm/text.ts";
import { type DisassembledInstruction, disassembleBytes, resolveAddress } from "../loader/disassemble.ts";
import { printable } from "../loader/identify.ts";
import type { Machine } from "../syscalls/machine.ts";

const hex = (address: number): string => `0x${address.toString(16)}`;
const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** `--dump-region`: prints the regions that the second tier compiles at some places, as it compiles them. */
export class RegionDump {
  readonly #machine: Machine;
  /** Places as the user wrote them, by address, and whether a region was found there. */
  readonly #places: Map<number, { readonly text: string; isFound: boolean }>;
  readonly #write: (text: string) => void;

  /**
   * @param places functions, `name+offset`, or addresses where the program lies in memory
   * @param write takes a region at a time
   * @throws SymbolError for a function that isn't there
   */
  constructor(machine: Machine, places: readonly string[], write: (text: string) => void) {
    this.#machine = machine;
    this.#write = write;
    this.#places = new Map(
      places.map((text) => [resolveAddress(machine.symbols, text), { text, isFound: false }] as const),
    );
    const { jit } = machine.core;
    if (jit !== undefined) jit.onCompile = (report) => this.#compiled(report);
  }

  /** Tells which places were not compiled; the run is over. */
  finish(): void {
    for (const [address, { text, isFound }] of this.#places) {
      if (isFound) continue;
      const where = printable(text === hex(address) ? text : `${text} (${hex(address)})`);
      const why = this.#machine.core.jit === undefined ? " (--tier interpreter compiles nothing)" : "";
      this.#write(`goemu: --dump-region: no code at ${where} was compiled${why}\n`);
    }
  }

  #compiled(report: RegionReport): void {
    let isWanted = false;
    for (const [address, place] of this.#places) {
      if (!holds(report, address)) continue;
      place.isFound = true;
      isWanted = true;
    }
    if (isWanted) this.#write(this.#format(report));
  }

  #format({ name, region, module, bytes, marks, patient }: RegionReport): string {
    const instructions = plural(region.instructionCount, "instruction");
    const blocks = plural(region.blocks.filter(({ end }) => end !== "dispatch").length, "block");
    const head = [
      `region ${name}: ${instructions} in ${blocks}, ${bytes} bytes of WebAssembly`,
      ...(patient ? ["patient: accesses that the fast check refuses stay in the region"] : []),
      ...this.#listing(region.blocks),
    ];
    const comments = new Map<number, string[]>();
    for (const mark of marks) {
      const lines = comments.get(mark.offset) ?? [];
      comments.set(mark.offset, lines);
      lines.push(...this.#describe(mark));
    }
    // Names are the program's, and may hold anything.
    const printed = (offset: number): string[] => (comments.get(offset) ?? []).map(printable);
    const text = moduleText(module, { comments: (_index, offset) => printed(offset) });
    return `${head.map((line) => `;; ${printable(line)}\n`).join("")}${text}\n`;
  }

  /** The region's instructions, block by block, by address. */
  #listing(blocks: readonly RegionBlock[]): string[] {
    const own = blocks.filter(({ end }) => end !== "dispatch").sort((a, b) => a.address - b.address);
    return own.flatMap((block) => [
      this.#block(block),
      ...block.instructions.map(({ instruction }) => `  ${this.#instruction(instruction.address, instruction.length)}`),
    ]);
  }

  #describe({ starts }: RegionMark): string[] {
    if (starts === "exits") return ["ways out: they store what is newer than the CPU state"];
    if ("mnemonic" in starts) return [this.#instruction(starts.address, starts.length)];
    return [this.#block(starts)];
  }

  #block(block: RegionBlock): string {
    if (block.end === "dispatch") return "dispatch: on the way to an entry in the middle, or on";
    const to = block.successors.map(({ address, end }) => (end === "dispatch" ? "dispatch" : hex(address)));
    const facts = [
      ...(block.entry !== 0 ? [`entry ${block.entry}`] : []),
      ...(block.isLoopHeader ? ["loop"] : []),
      to.length === 0 ? "leaves the region" : `to ${to.join(", ")}`,
    ];
    const func = this.#code(block.address, block.instructions[0].instruction.length).function;
    const offset = func === undefined ? 0 : block.address - func.address;
    const name = func === undefined ? "" : ` ${func.name}${offset === 0 ? "" : `+${hex(offset)}`}`;
    return `block ${hex(block.address)}${name}: ${facts.join(", ")}`;
  }

  #instruction(address: number, length: number): string {
    const code = this.#code(address, length);
    const line = code.source === undefined ? "" : `${code.source.file.replace(/.*\//, "")}:${code.source.line}`;
    return `${hex(address)}  ${line.padEnd(18)}  ${code.text}`;
  }

  /** The instruction as it is in memory now, which is what was compiled. */
  #code(address: number, length: number): DisassembledInstruction {
    const { memory, symbols } = this.#machine;
    const bytes = memory.readBytes(address, length);
    const [instruction] = disassembleBytes(bytes, address, { symbols, syntax: "gas" });
    return instruction;
  }
}

/** Is an instruction of the region at the address? */
function holds({ region }: RegionReport, address: number): boolean {
  return region.blocks.some(({ instructions }) =>
    instructions.some(
      ({ instruction }) => address >= instruction.address && address < instruction.address + instruction.length,
    ),
  );
}
