// Each group adds its rows to the table.
import "./arithmetic.ts";
import "./bits.ts";
import "./control.ts";
import "./logic.ts";
import "./move.ts";
import "./shift.ts";
import "./string.ts";
import "./vector.ts";
import "./x87.ts";

export { type InstructionRow, implementedMnemonics, rowOf } from "./table.ts";
