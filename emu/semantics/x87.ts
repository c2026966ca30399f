import type { Mnemonic } from "iced-x86";
import { EXIT } from "../cpu/exits.ts";
import { x87Mnemonics } from "../cpu/x87/instructions.ts";
import { saveMnemonics } from "../cpu/xsave.ts";
import { define } from "./table.ts";

/**
 * x87 is carried out in TypeScript (cpu/x87/): WebAssembly has no 80-bit numbers, and compilers for x86-64 emit it for
 * long double alone. So are the instructions that save its state along with the other registers.
 */
const names = [...x87Mnemonics(), ...saveMnemonics()] as (keyof typeof Mnemonic)[];
define(names, "Vol. 1, chapters 8 and 13; Vol. 2A and 2D, each", (e) => e.leave(EXIT.helper, false), { ends: true });
