import { CpuModelError } from "../emu/cpu/features.ts";
import { LoadError, SymbolError } from "../loader/errors.ts";
import { printable } from "../loader/identify.ts";

/** Exit statuses of goemu's own (docs/cli.md). */
export const STATUS = { failed: 125, cannotExecute: 126, notFound: 127 } as const;

/** Something the user can do something about: one line, and a status. */
export class CliError extends Error {
  readonly status: number;

  constructor(message: string, status: number = STATUS.failed) {
    super(message);
    this.status = status;
  }
}

/** The one line that an error becomes, and the exit status. @param file what it is about, if anything */
export function explain(error: unknown, file: string | undefined): { line: string; status: number } {
  const { line, status } = reason(error, file);
  return { line: printable(line), status };
}

function reason(error: unknown, file: string | undefined): { line: string; status: number } {
  const about = file === undefined ? "" : `${file}: `;
  if (error instanceof CliError) return { line: `goemu: ${error.message}`, status: error.status };
  if (error instanceof LoadError) {
    return { line: `goemu: ${about}${error.message} (${error.hint})`, status: error.exitStatus };
  }
  if (error instanceof CpuModelError) return { line: `goemu: --cpu: ${error.message}`, status: STATUS.failed };
  if (error instanceof SymbolError) return { line: `goemu: ${about}${error.message}`, status: STATUS.failed };
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const oneLine = text.replace(/\s*\n\s*/g, "; ");
  return { line: `goemu: ${about}internal error: ${oneLine} (please report it)`, status: STATUS.failed };
}
