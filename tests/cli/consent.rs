//! What receipts show of consent.

use crate::space::Space;

const INGEST: &str = "version: 1
name: taken-in
purpose: research
stages:
  ingest:
    uses: madmall/ingest
    inputs: { events: raw.ndjson, schema: schema.json }
    outputs: { events: data/events.ndjson, report: data/report.json }
";

const AROUND: &str = "version: 1
name: around
stages:
  count: {run: 'wc -l < ${inputs.e} > ${outputs.o}', inputs: {e: raw.ndjson}, outputs: {o: out/count}}
";

#[test]
fn a_stage_of_another_pipeline_that_reads_raw_events_is_found() {
    let space = Space::empty();
    space.write("madmall.yaml", "");
    space.write("raw.ndjson", include_str!("../golden/small-events.ndjson"));
    space.write("schema.json", include_str!("../../schemas/byte_event.schema.json"));
    space.write("ingest.yaml", INGEST);
    space.write("around.yaml", AROUND);
    space.madmall(["run", "around.yaml"]).success();
    // Nobody has said yet that these are events.
    space.madmall(["verify"]).success();
    space.madmall(["run", "ingest.yaml"]).success();
    space
        .madmall(["verify"])
        .code(4)
        .says("E-CONSENT")
        .says("raw.ndjson: a stage other than ingest has read it")
        .says("failed:      consent");
    space.madmall(["verify", "data/events.ndjson"]).success();
}
