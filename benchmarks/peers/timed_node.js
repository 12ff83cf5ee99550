// @phala/dcap-qvl (JavaScript), timed in its own process: see timed_python.py.
const fs = require("fs");
const path = require("path");
const readline = require("readline");
const { QuoteVerifier } = require("@phala/dcap-qvl");

const folder = process.argv[process.argv.length - 1];
const read = (name) => fs.readFileSync(path.join(folder, name));
const about = JSON.parse(read("vector.json"));
const held = JSON.parse(read("collateral.json"));
const binary = ["root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature"];
for (const name of binary) held[name] = Array.from(Buffer.from(held[name], "hex"));
const verifier = QuoteVerifier.newWithRootCa(fs.readFileSync(path.join(folder, "..", "..", about.root)));
const quote = read("quote.bin");
const at = Date.parse(about.at) / 1000;

(async () => {
  console.log(JSON.stringify(["quote"]));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { size } = JSON.parse(line);
    const start = process.cpuUsage();
    for (let round = 0; round < size; round++) {
      const report = await verifier.verify(quote, held, at);
      if (report.status !== "UpToDate") throw new Error(report.status);
    }
    const spent = process.cpuUsage(start);
    console.log((spent.user + spent.system) / 1e6);
  }
})();
