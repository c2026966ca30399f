// Loaded before goemu in a run of the soak (node --import): says now and then how much the JavaScript heap holds.
import { appendFileSync } from "node:fs";

const file = process.env.GOEMU_SOAK_PROBE;
if (file !== undefined) {
  setInterval(() => {
    const { heapUsed, external, arrayBuffers } = process.memoryUsage();
    // The 4 GiB of WebAssembly memory are the guest's.
    const guest = 2 ** 32;
    const bytes = external >= guest ? external - guest : external;
    appendFileSync(file, `${JSON.stringify({ heap: heapUsed, external: Math.max(bytes, arrayBuffers % guest) })}\n`);
  }, 250).unref();
}
