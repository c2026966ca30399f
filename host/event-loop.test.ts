import { describe, expect, it } from "vitest";
import { JsEventLoop } from "./event-loop.ts";

describe("the event loop", () => {
  it("lets the host's events through while a guest sleeps for a moment again and again", async () => {
    const loop = new JsEventLoop(() => performance.now() * 1e6);
    let fired = false;
    setTimeout(() => {
      fired = true;
    }, 1);
    const end = performance.now() + 2000;
    while (!fired && performance.now() < end) await loop.wait(50_000);
    expect(fired).toBe(true);
  });
});
