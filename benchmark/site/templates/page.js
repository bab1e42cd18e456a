"use strict";
(() => {
  {% include "tables.js" +%}
})();
