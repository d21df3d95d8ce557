// The page: classify an image, start audits, follow them live, review past ones. No dependencies, no build step.

import * as audits from "./audits.js";
import * as form from "./form.js";
import * as leaderboard from "./leaderboard.js";
import * as model from "./model.js";
import * as prediction from "./predict.js";
import * as samples from "./samples.js";
import * as signIn from "./sign-in.js";
import * as trend from "./trend.js";

async function begin() {
  try {
    const found = await model.describe();
    signIn.done();
    form.fill(found);
  } catch (error) {
    if (error.status === 401) {
      signIn.ask(error);
      return;
    }
    signIn.done();
    model.fail(error);
  }
  samples.refresh();
  audits.refresh();
  leaderboard.refresh();
}

// The model may have been swapped, and its samples with it.
function notice(answer) {
  if (model.notice(answer)) samples.refresh();
}

// What the header, the table and the estimate say is of audits that are done.
function update() {
  model.describe().catch(() => {}); // it stays as it is
  form.estimate();
  leaderboard.refresh();
}

signIn.listen(begin);
prediction.listen(notice);
samples.listen(prediction.predict);
form.listen(audits.add);
audits.listen(update);
trend.listen();
leaderboard.listen();
begin();
