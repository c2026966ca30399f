import { readFileSync } from "node:fs";
import { Machine, MemoryHost } from "./index.ts";
const { build, keys, helpers, sections } = JSON.parse(readFileSync("dist/pack.json","utf8")); const bytes=readFileSync("dist/pack.bin");
const s=(n:string)=>bytes.subarray(sections[n][0],sections[n][1]);
const pack={keys,helpers,core:s("core"),tables:s("tables"),module:s("module"),helperModule:s("helperModule"),templates:s("templates")};
for (const f of process.argv.slice(2)) {
const [path,...args]=f.split(",");
const m=new Machine({program:readFileSync(path),path:"x",args:["x",...args],host:new MemoryHost(),cpus:2,handlerPack:pack as any});
const t=m.interpreter.code.templates; const orig=t.learn.bind(t); let n=0; const seen=new Map<string,number>();
(t as any).learn=(code:Uint8Array,d:any,row:any)=>{n++; const before=t.count; orig(code,d,row); const k=Buffer.from(code).toString("hex")+(t.count>before?" learned":" NOT"); seen.set(k,(seen.get(k)??0)+1)};
await m.run(); console.log(f,"handlers beyond pack",m.interpreter.handlers.count-keys.length,"misses",n,"of",m.interpreter.code.instructions,"templates",t.count, [...seen].slice(0,12));
}
