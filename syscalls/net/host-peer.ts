import type { HostConnection } from "../../host/network.ts";
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
        socket.arrived(bytes);
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

  deliver(bytes: Uint8Array): void {
    this.#connection.write(bytes);
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
