import { render } from 'preact';
import './styles.css';
import { start } from './session';
import { App } from './ui/app';

render(<App />, document.getElementById('studio')!);
void start();
