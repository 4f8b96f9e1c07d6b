// Interactive plots of figures (see the macro `plot` in _parts.html.j2).
"use strict";
