import type { HostTerminal } from "../../host/terminal.ts";
import { HostTty } from "./host-tty.ts";

/** The terminals that a process's descriptors lead to, and those of the processes that come from it. */
export class Terminals {
  readonly #wakeUp: () => void;
  readonly #ofHost = new WeakMap<HostTerminal, HostTty>();

  /** @param wakeUp lets the machine go on after something has changed */
  constructor(wakeUp: () => void) {
    this.#wakeUp = wakeUp;
  }

  /** A terminal of the host, the same for all descriptors that lead to it. */
  of(terminal: HostTerminal): HostTty {
    let found = this.#ofHost.get(terminal);
    if (found === undefined) {
      found = new HostTty(terminal, this.#wakeUp);
      this.#ofHost.set(terminal, found);
    }
    return found;
  }
}
