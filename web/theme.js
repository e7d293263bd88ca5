// Light, dark, or as the system has it.

import { $ } from './dom.js';

const KEY = 'wasmyard.theme';
const CHOICES = ['system', 'light', 'dark'];

/** Shows the page as it was chosen before, and lets it be chosen. */
export function start() {
  let choice = CHOICES.indexOf(localStorage.getItem(KEY));
  const apply = () => {
    const name = CHOICES[choice];
    document.documentElement.style.colorScheme = name === 'system' ? '' : name;
    $('theme-name').textContent = name;
    $('theme').setAttribute('aria-label', `Theme: ${name}`);
    localStorage.setItem(KEY, name);
  };
  choice = Math.max(choice, 0);
  apply();
  $('theme').addEventListener('click', () => {
    choice = (choice + 1) % CHOICES.length;
    apply();
  });
}
