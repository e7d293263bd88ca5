// Puts the parts of the page together.

import * as basket from './basket.js';
import { $, keepFocus, notice, once } from './dom.js';
import { Live } from './live.js';
import * as orders from './orders.js';
import * as products from './products.js';
import * as services from './services.js';
import { current, resume, session, signIn, signOut } from './session.js';
import * as theme from './theme.js';

/** After an order, stock is looked at again; of many at once, only so often. */
const STOCK_PAUSE_MS = 2_000;

const STATES = {
  'signed-out': () => 'Not connected',
  connecting: () => 'Connecting…',
  live: () => 'Live',
  waiting: (ms) => `Cut off. Again in ${Math.max(1, Math.round(ms / 1000))} s`,
  offline: () => 'Offline',
};

let stock = null;
const lookAtStock = () => {
  stock ??= setTimeout(() => {
    stock = null;
    products.restock();
  }, STOCK_PAUSE_MS);
};

const live = new Live(
  (event) => {
    orders.take(event);
    lookAtStock();
  },
  (state, waitMs) => {
    $('connection').dataset.state = state;
    $('connection-text').textContent = STATES[state](waitMs);
    keepFocus(() => { $('reconnect').hidden = state !== 'waiting'; }, () => [$('connection')]);
    // Once more now that the stream stands: nothing can fall between the two.
    if (state === 'live') orders.load();
  },
);

function showUser() {
  const user = current();
  keepFocus(() => {
    $('sign-in').hidden = Boolean(user);
    $('sign-out').hidden = $('who').hidden = $('connection').hidden = !user;
    $('who').textContent = user ? `${user.username}${user.role === 'admin' ? ' (admin)' : ''}` : '';
    orders.clear();
  }, () => [$('sign-in'), $('sign-out')]);
  basket.render();
  if (!user) return live.stop();
  orders.load();
  live.start();
}

function askToSignIn() {
  $('login-form').reset();
  $('login-fault').hidden = true;
  $('login').showModal();
  $('username').focus();
}

async function submitLogin() {
  // Emptied first: the same fault again is read out again.
  $('login-fault').textContent = '';
  try {
    await signIn($('username').value, $('password').value);
    $('login-form').reset();
    // The dialog gives the focus back to what opened it, which may be gone.
    keepFocus(() => $('login').close(), () => [$('sign-out')]);
  } catch (problem) {
    $('login-fault').textContent = problem.message;
    $('login-fault').hidden = false;
    $('password').select();
  }
}

theme.start();
session.addEventListener('change', showUser);
session.addEventListener('ended', () => notice('Your session has ended. Sign in again.', 'bad'));
$('sign-in').addEventListener('click', askToSignIn);
$('sign-out').addEventListener('click', () => signOut());
$('login-cancel').addEventListener('click', () => $('login').close());
$('login-form').addEventListener('submit', (event) => {
  event.preventDefault();
  once($('login-submit'), submitLogin);
});
$('reconnect').addEventListener('click', () => live.now());
orders.start();
basket.start(askToSignIn, (order) => {
  orders.put(order, true);
  lookAtStock();
});
basket.render();
products.start(basket.add);
services.start(() => live.suspect());
resume().catch((problem) => notice(problem.message, 'bad'));
