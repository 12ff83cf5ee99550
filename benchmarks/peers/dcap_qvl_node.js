// @phala/dcap-qvl (JavaScript): quotes. Only UpToDate is accepted.
const fs = require("fs");
const path = require("path");
const { QuoteVerifier } = require("@phala/dcap-qvl");

const folder = process.argv[process.argv.length - 1];
const read = (name) => fs.readFileSync(path.join(folder, name));
const about = JSON.parse(read("vector.json"));
if (about.link !== "quote") {
  console.log("unsupported");
  process.exit(0);
}
const held = JSON.parse(read("collateral.json"));
const binary = ["root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature"];
for (const name of binary) held[name] = Array.from(Buffer.from(held[name], "hex"));
const root = fs.readFileSync(path.join(folder, "..", "..", about.root));
const verifier = QuoteVerifier.newWithRootCa(root);
(async () => {
  let word = "reject";
  try {
    const report = await verifier.verify(read("quote.bin"), held, Date.parse(about.at) / 1000);
    if (report.status === "UpToDate") word = "accept";
  } catch (error) {
    if (process.env.WHY) console.error(error);
  }
  console.log(word);
})();
