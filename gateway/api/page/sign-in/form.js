// The sign-in form in the reader's language.

import { sayWhatStandsThere } from "../parts/words.js";

sayWhatStandsThere();
