// Every operation of the official JavaScript SDKs, unmodified: a line of JSON for each that was called.
// Use: node every_operation.mjs ENDPOINT KEY SENT, where SENT is JSON of what is sent (sent.py).
// The SDKs lie in the folder node_modules of the current folder.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(`${process.cwd()}/`));
const [endpoint, key, text] = process.argv.slice(2);
const sent = JSON.parse(text);
const patience = 120_000;

const note = (sdk, operation, outcome) => console.log(JSON.stringify({ sdk, operation, outcome }));
const check = (true_, found) => {
  if (!true_) throw new Error(`unexpected answer: ${JSON.stringify(found)?.slice(0, 300)}`);
};

async function until(milliseconds, sdk, operation, call) {
  const deadline = Date.now() + milliseconds;
  for (;;) {
    try {
      const found = await call();
      note(sdk, operation, "ok");
      return found;
    } catch (error) {
      if (Date.now() >= deadline) return note(sdk, operation, `${error.name}: ${error.message}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

async function first() {
  const { PersonalizerClient } = require("@azure/cognitiveservices-personalizer");
  const { ApiKeyCredentials } = require("@azure/ms-rest-js");
  const credentials = new ApiKeyCredentials({ inHeader: { "Ocp-Apim-Subscription-Key": key } });
  const client = new PersonalizerClient(credentials, endpoint);
  const once = (operation, call) => until(0, "JS 1.0", operation, call);
  await once("rank", async () => {
    const found = await client.rank({ ...sent.rank, eventId: sent.event, deferActivation: true });
    check(found.eventId === sent.event && found.rewardActionId && found.ranking[1].probability === 0, found);
  });
  await once("activate", () => client.events.activate(sent.event));
  await once("reward", () => client.events.reward(sent.event, { value: 0.5 }));
}

async function last() {
  const createClient = require("@azure-rest/ai-personalizer").default;
  const { AzureKeyCredential } = require("@azure/core-auth");
  const client = createClient(endpoint.replace(/\/$/, ""), new AzureKeyCredential(key), {
    allowInsecureConnection: true,
  });
  const of = async (status, asked, holds = () => true) => {
    const found = await asked;
    check(found.status === status && holds(found.body), { status: found.status, body: found.body });
    return found;
  };
  const once = (operation, call) => until(0, "JS 1.1", operation, call);
  const soon = (operation, call) => until(patience, "JS 1.1", operation, call);
  const service = client.path("/configurations/service");
  const policy = client.path("/configurations/policy");
  const wanted = sent.configuration;
  const body = { ...wanted, modelRetrainDays: undefined };

  await once("update_service_configuration", () =>
    of("200", service.put({ body }), (it) => it.rewardWaitTime === wanted.rewardWaitTime));
  await once("get_service_configuration", () => of("200", service.get(), (it) => it.explorationPercentage === 0.3));

  const deferred = { ...sent.rank, eventId: sent.event, deferActivation: true };
  await once("rank", () => of("201", client.path("/rank").post({ body: deferred }), (it) => it.eventId === sent.event));
  await once("activate", () => of("204", client.path("/events/{eventId}/activate", sent.event).post()));
  await once("reward", () =>
    of("204", client.path("/events/{eventId}/reward", sent.event).post({ body: { value: 0.5 } })));
  for (let number = 0; number < sent.training; number++) {
    const event = { actions: sent.rank.actions, eventId: `training ${number}` };
    await once("rank", () => of("201", client.path("/rank").post({ body: event }), (it) => it.rewardActionId));
    await once("reward", () =>
      of("204", client.path("/events/{eventId}/reward", event.eventId).post({ body: { value: 1 } })));
  }

  await soon("get_log_properties", () => of("200", client.path("/logs/properties").get(), (it) => it.dateRange.from));
  await soon("get_model_properties", () =>
    of("200", client.path("/model/properties").get(), (it) => it.lastModifiedTime > "2000"));
  const model = await once("export_model", async () => {
    const found = await client.path("/model").get().asNodeStream();
    const parts = [];
    for await (const part of found.body) parts.push(part);
    check(found.status === "200" && parts.length, found.status);
    return Buffer.concat(parts);
  });
  await once("import_model", () => of("204", client.path("/model").put({ body: model, contentType: "application/octet-stream" })));

  let id;
  const evaluation = { name: "which is best", ...sent.span, enableOfflineExperimentation: false, policies: [sent.policy] };
  await once("create_evaluation", async () => {
    id = (await of("201", client.path("/evaluations").post({ body: evaluation }))).body.id;
  });
  const one = client.path("/evaluations/{evaluationId}", id ?? "none");
  await soon("get_evaluation", () => of("200", one.get(), (it) => it.status === "completed" && it.policyResults.length > 3));
  await once("list_evaluations", () => of("200", client.path("/evaluations").get(), (it) => it[0].id === id));
  const chosen = { evaluationId: id, policyName: "mine" };
  await once("apply_from_evaluation", () =>
    of("204", client.path("/configurations/applyFromEvaluation").post({ body: chosen })));
  await once("delete_evaluation", () => of("204", one.delete()));

  await once("get_policy", () => of("200", policy.get(), (it) => it.name === "mine"));
  await once("update_policy", () => of("200", policy.put({ body: sent.slotPolicy }), (it) => it.name === "slots"));
  const slots = { ...sent.slots, eventId: "slots", deferActivation: true };
  await soon("rank_multi_slot", () =>
    of("201", client.path("/multislot/rank").post({ body: slots }), (it) => it.slots.length === 2));
  await once("activate_multi_slot", () =>
    of("204", client.path("/multislot/events/{eventId}/activate", "slots").post()));
  await once("reward_multi_slot", () =>
    of("204", client.path("/multislot/events/{eventId}/reward", "slots").post({ body: sent.slotRewards })));
  await once("reset_policy", () => of("200", policy.delete(), (it) => it.name !== "slots"));
  await once("reset_model", () => of("204", client.path("/model").delete()));
  await once("delete_logs", () => of("204", client.path("/logs").delete()));
}

await first();
await last();
