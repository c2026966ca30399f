import type { HostJob } from "../../host/terminal.ts";
import type { Process } from "../process.ts";

/** Where the guest stands among the host's sessions and process groups; alone where the host does not tell. */
export function jobOf(process: Process): HostJob {
  const { pid } = process;
  return process.host.job?.() ?? { group: pid, session: pid, terminal: 0n, foreground: pid };
}
