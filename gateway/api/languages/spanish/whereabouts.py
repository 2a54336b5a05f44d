"""Where a study is and what to do, in Spanish, by the English sentences of `studies.whereabouts`."""

from collections.abc import Mapping
from typing import Final

WHEREABOUTS: Final[Mapping[str, str]] = {
    "Its images are coming in": "Sus imágenes están llegando",
    "Nothing. If no more will come, say that it is complete.": (
        "Nada. Si no llegarán más, indique que está completo."
    ),
    "Complete; what is done with it is being decided": "Completo; se está decidiendo qué hacer con él",
    "Nothing.": "Nada.",
    "Waits to be converted": "Espera a ser convertido",
    "Waits to be put into its job folder": "Espera a ser puesto en la carpeta de su trabajo",
    "Waits to be handed to the queue": "Espera a ser entregado a la cola",
    "Waits at the queue for its turn": "Espera su turno en la cola",
    "Waits for a machine": "Espera una máquina",
    "Nothing: it runs as soon as the queue has a machine for it.": (
        "Nada: se ejecuta en cuanto la cola tenga una máquina para él."
    ),
    "Being segmented": "Se está segmentando",
    "Segmented; its results are being made": "Segmentado; se están generando sus resultados",
    "Being sent to {destinations}": "Se está enviando a {destinations}",
    "Put off": "Aplazado",
    "Nothing, it is tried again by itself. Once that is settled, try it now.": (
        "Nada: se intenta de nuevo por sí solo. Cuando esté resuelto, inténtelo ahora."
    ),
    "Waits for {destinations}": "Espera a {destinations}",
    "See to {destinations}; it is tried again by itself. Or send it elsewhere.": (
        "Revise {destinations}; se intenta de nuevo por sí solo. O envíelo a otro destino."
    ),
    "At {destinations}, which has yet to say that it keeps it": (
        "En {destinations}, que aún no ha confirmado que lo conserva"
    ),
    "Nothing, it is asked again by itself. If that lasts, see to storage commitment there.": (
        "Nada: se pregunta de nuevo por sí solo. Si dura, revise allí el storage commitment."
    ),
    "Failed while its images were converted": "Falló al convertir sus imágenes",
    "Settle what is said, then retry it; or cancel it.": (
        "Resuelva lo que se indica y reinténtelo; o cancélelo."
    ),
    "Failed while it was put into its job folder": "Falló al ponerlo en la carpeta de su trabajo",
    "Failed while it was segmented": "Falló al segmentarlo",
    "Failed while its results were made": "Falló al generar sus resultados",
    "Failed": "Falló",
    "Failed at {destinations}": "Falló en {destinations}",
    "Settle it at {destinations}, then retry; or send it elsewhere, or give it up.": (
        "Resuélvalo en {destinations} y reinténtelo; o envíelo a otro destino, o renuncie a ello."
    ),
    "Held: images are missing": "Retenido: faltan imágenes",
    "Send what is missing, and it goes on by itself; or release it as it is, or cancel it.": (
        "Envíe lo que falta y continúa por sí solo; o libérelo tal como está, o cancélelo."
    ),
    "Held: its result is in doubt": "Retenido: su resultado es dudoso",
    "Look at the preview and the doubts; release it if the result is good, cancel it if not.": (
        "Mire la vista previa y las dudas; libérelo si el resultado es bueno, cancélelo si no."
    ),
    "Held: its destination has it for another patient's": (
        "Retenido: su destino lo tiene como de otro paciente"
    ),
    "Correct the patient where it is wrong, and send the study again; or release it, or cancel it.": (
        "Corrija el paciente donde esté mal y envíe de nuevo el estudio; o libérelo, o cancélelo."
    ),
    "Held: a person decides": "Retenido: decide una persona",
    "Look at it, then release it or cancel it.": "Revíselo y después libérelo o cancélelo.",
    "Done: delivered to {destinations}": "Terminado: entregado a {destinations}",
    "Done, with doubts: delivered to {destinations}": "Terminado, con dudas: entregado a {destinations}",
    "Read the doubts before relying on the result.": "Lea las dudas antes de confiar en el resultado.",
    "Done, and not sent: a person gave that up": "Terminado y no enviado: una persona renunció a ello",
    "Nothing. It can still be sent from here.": "Nada. Todavía puede enviarse desde aquí.",
    "Nothing to do: no rule takes any of its series": (
        "Nada que hacer: ninguna regla toma ninguna de sus series"
    ),
    "Nothing, if that is right: each series says why. Else use one of them, or change the rules.": (
        "Nada, si es correcto: cada serie dice por qué. Si no, use una de ellas o cambie las reglas."
    ),
    "Done: the label map is ready": "Terminado: el mapa de etiquetas está listo",
    "Fetch the label map.": "Descargue el mapa de etiquetas.",
    "Done: nothing was found, so nothing was sent": (
        "Terminado: no se encontró nada, así que no se envió nada"
    ),
    "Nothing, if that is right: the preview shows the images.": (
        "Nada, si es correcto: la vista previa muestra las imágenes."
    ),
    "Cancelled by a person": "Cancelado por una persona",
    "Nothing. A retry takes it up again.": "Nada. Un reintento lo retoma.",
    "Over: newer images took its place": "Superado: imágenes más nuevas ocuparon su lugar",
    "Done, and kept here: it goes to no destination": "Terminado y guardado aquí: no va a ningún destino",
    "Fetch the result here. Where a destination is to have it, see to the configuration.": (
        "Descargue aquí el resultado. Si debe tenerlo un destino, revise la configuración."
    ),
    "Done": "Terminado",
    " ({task}, one of {jobs} jobs)": " ({task}, uno de {jobs} trabajos)",
    "{number} destinations": "{number} destinos",
    " and ": " y ",
    "{first}. And {number} more.": "{first}. Y {number} más.",
}
