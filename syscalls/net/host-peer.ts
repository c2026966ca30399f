import type { HostConnection } from "../../host/network.ts";
import { type ErrnoName, SyscallError } from "../abi/errno.ts";
import type { IoVector } from "../files/io-vector.ts";
import type { TcpPeer, TcpSocket } from "./tcp.ts";

/** A connection's other end, outside of the machine. */
export class HostPeer implements TcpPeer {
  readonly #socket: TcpSocket;
  readonly #connection: HostConnection;
  #paused = false;

  constructor(socket: TcpSocket, connection: HostConnection) {
    this.#socket = socket;
    this.#connection = connection;
    const wakeUp = (): void => socket.network.owner.wakeUp();
    connection.start({
      connected: () => {
        socket.hostConnected(connection);
        wakeUp();
      },
      data: (bytes) => {
        socket.arrived(bytes, true);
        if (socket.isCongested) {
          this.#paused = true;
          connection.pause();
        }
        wakeUp();
      },
      ended: () => {
        socket.finish();
        wakeUp();
      },
      drained: () => {
        socket.consumed();
        wakeUp();
      },
      failed: (error) => socket.hostFailed(error),
    });
  }

  room(sender: TcpSocket): number {
    return sender.sendBuffer - this.#connection.pending;
  }

  deliver(from: IoVector, count: number): number {
    const connection = this.#connection;
    const start = from.done;
    try {
      // Out of the guest's memory, if that is one piece; nothing is copied then but into the host's socket.
      const place = count === from.remaining ? from.place() : -1;
      if (place >= 0) {
        from.advance(connection.writeNow(from.bytes, place, count));
        if (from.done - start === count) return count;
      }
      const rest = from.take(count - (from.done - start));
      const written = place >= 0 ? 0 : connection.writeNow(rest, 0, rest.length);
      if (written < rest.length) connection.write(written === 0 ? rest : rest.subarray(written));
      return from.done - start;
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      this.#socket.hostFailed(error.message as ErrnoName);
      return 0;
    }
  }

  finish(): void {
    this.#connection.finish();
  }

  reset(): void {
    this.#connection.reset();
  }

  consumed(): void {
    if (!this.#paused || this.#socket.isCongested) return;
    this.#paused = false;
    this.#connection.resume();
  }

  abandon(): void {
    this.#connection.close();
  }

  setNoDelay(on: boolean): void {
    this.#connection.setNoDelay(on);
  }
}
