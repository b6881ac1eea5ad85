// @ts-check
// The editor: CodeMirror with Python, in the page's colours.
import {
  autocompletion,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
} from "./vendor/codemirror/autocomplete.js";
import {
  defaultKeymap,
  history,
  historyKeymap,
  indentWithTab,
} from "./vendor/codemirror/commands.js";
import { python } from "./vendor/codemirror/lang-python.js";
import {
  HighlightStyle,
  bracketMatching,
  indentUnit,
  syntaxHighlighting,
} from "./vendor/codemirror/language.js";
import { highlightSelectionMatches, searchKeymap } from "./vendor/codemirror/search.js";
import { EditorState } from "./vendor/codemirror/state.js";
import {
  EditorView,
  drawSelection,
  highlightActiveLine,
  highlightActiveLineGutter,
  keymap,
  lineNumbers,
} from "./vendor/codemirror/view.js";
import { tags } from "./vendor/lezer/highlight.js";

// Variables of playground.css: they change with the page, so there is one theme.
const theme = EditorView.theme({
  "&": { height: "100%", fontSize: "13.5px", color: "var(--text)", backgroundColor: "var(--surface)" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.5" },
  ".cm-content": { caretColor: "var(--accent)" },
  ".cm-cursor": { borderLeftColor: "var(--accent)", borderLeftWidth: "2px" },
  ".cm-gutters": { backgroundColor: "transparent", color: "var(--dim)", border: "none" },
  ".cm-activeLine, .cm-activeLineGutter": {
    backgroundColor: "color-mix(in srgb, var(--accent) 7%, transparent)",
  },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    backgroundColor: "var(--selection)",
  },
  ".cm-panels, .cm-tooltip": {
    backgroundColor: "var(--surface)",
    color: "var(--text)",
    borderColor: "var(--line)",
  },
  ".cm-tooltip-autocomplete > ul > li[aria-selected]": {
    backgroundColor: "var(--selection)",
    color: "var(--text)",
  },
});
const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.controlKeyword], color: "var(--keyword)" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--string)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--number)" },
  { tag: tags.comment, color: "var(--dim)", fontStyle: "italic" },
  {
    tag: [
      tags.function(tags.variableName),
      tags.function(tags.propertyName),
      tags.definition(tags.className),
      tags.className,
      tags.meta,
    ],
    color: "var(--name)",
  },
]);

/**
 * @param {HTMLElement} parent
 * @param {{onRun: () => void, onChange: () => void}} on onChange: the person has typed
 */
export function createEditor(parent, { onRun, onChange }) {
  const run = () => {
    onRun();
    return true;
  };
  const view = new EditorView({
    parent,
    state: EditorState.create({
      extensions: [
        keymap.of([
          { key: "Mod-Enter", run },
          ...closeBracketsKeymap,
          ...defaultKeymap,
          ...searchKeymap,
          ...historyKeymap,
          ...completionKeymap,
          indentWithTab,
        ]),
        lineNumbers(),
        highlightActiveLineGutter(),
        highlightActiveLine(),
        history(),
        drawSelection(),
        bracketMatching(),
        closeBrackets(),
        autocompletion(),
        highlightSelectionMatches(),
        indentUnit.of("    "),
        python(),
        syntaxHighlighting(colours),
        theme,
        EditorView.contentAttributes.of({ "aria-label": "Python script" }),
        EditorView.updateListener.of((update) => {
          if (update.transactions.some((t) => t.isUserEvent("input") || t.isUserEvent("delete") ||
              t.isUserEvent("undo") || t.isUserEvent("redo") || t.isUserEvent("move"))) {
            onChange();
          }
        }),
      ],
    }),
  });
  return {
    text: () => view.state.doc.toString(),
    /** Replace the text; undo brings back the one before. */
    set(text) {
      view.dispatch({
        changes: { from: 0, to: view.state.doc.length, insert: text },
        selection: { anchor: 0 },
        scrollIntoView: true,
      });
    },
  };
}
