import type { HostJob } from "../../host/terminal.ts";
import type { Process } from "../process.ts";

/** Where a process stands among sessions and process groups. */
export const jobOf = ({ job }: Process): HostJob => job;
