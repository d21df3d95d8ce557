// The page: classify an image, start audits, follow them live, review past ones. No dependencies, no build step.

import * as audits from "./audits.js";
import * as form from "./form.js";
import * as leaderboard from "./leaderboard.js";
import * as model from "./model.js";
import * as prediction from "./predict.js";
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
  audits.refresh();
  leaderboard.refresh();
}

// What the header and the table say is of audits that are done.
function update() {
  model.describe().catch(() => {}); // it stays as it is
  leaderboard.refresh();
}

signIn.listen(begin);
prediction.listen(model.notice);
form.listen(audits.add);
audits.listen(update);
trend.listen();
leaderboard.listen();
begin();
