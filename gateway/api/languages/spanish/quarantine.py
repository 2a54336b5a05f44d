"""What was put aside and what to do, in Spanish, by the English sentences of `gateway.ledger.quarantine`."""

from collections.abc import Mapping
from typing import Final

QUARANTINE: Final[Mapping[str, str]] = {
    "A job is held before its result goes out.": "Un trabajo está retenido antes de que salga su resultado.",
    "Look at its study. Release lets the job go on; Cancel ends it, and nothing of it is sent.": (
        "Revise su estudio. Liberar deja continuar el trabajo; Cancelar lo termina, y no se envía nada de él."
    ),
    "What came cannot be parsed as DICOM.": "Lo que llegó no se puede leer como DICOM.",
    "Have it corrected where it was made, and send it again; then dismiss this.": (
        "Haga que se corrija donde se generó y envíelo de nuevo; después descarte esto."
    ),
    "The object has no attributes at all.": "El objeto no tiene ningún atributo.",
    "Send the study again from where it is whole, then dismiss this.": (
        "Envíe de nuevo el estudio desde donde está entero y después descarte esto."
    ),
    "The object ends in the middle.": "El objeto termina a la mitad.",
    "The image has less pixel data than it says.": "La imagen tiene menos datos de píxeles de los que dice.",
    "The image has no pixel data.": "La imagen no tiene datos de píxeles.",
    "A UID is missing by which the object would be filed.": (
        "Falta un UID con el que se archivaría el objeto."
    ),
    "A UID of the object is none (PS3.5 9.1).": "Un UID del objeto no es válido (PS3.5 9.1).",
    "An element has a value representation that DICOM does not know.": (
        "Un elemento tiene una representación de valor que DICOM no conoce."
    ),
    "Where its pixels lie cannot be read.": "No se puede leer dónde están sus píxeles.",
    "A sequence of the object cannot be parsed.": "Una secuencia del objeto no se puede leer.",
    "Its sequences lie deeper in each other than anybody needs.": (
        "Sus secuencias están anidadas más de lo que nadie necesita."
    ),
    "Its header has more elements than can be held in memory.": (
        "Su cabecera tiene más elementos de los que caben en memoria."
    ),
    "Its transfer syntax is not one of DICOM's.": "Su sintaxis de transferencia no es de DICOM.",
    "Let the sender use another transfer syntax, and send the study again; then dismiss this.": (
        "Haga que el remitente use otra sintaxis de transferencia y envíe de nuevo el estudio; "
        "después descarte esto."
    ),
    "The deflated object is too long once it is inflated.": (
        "El objeto comprimido es demasiado largo una vez descomprimido."
    ),
    "The request named another object than the one that came with it.": (
        "La petición nombró otro objeto que el que llegó con ella."
    ),
    (
        "Look at its header. Release takes it in as what it says itself; correct the sender, "
        "which mixes up objects."
    ): (
        "Revise su cabecera. Liberar lo acepta como lo que él mismo dice ser; corrija el "
        "remitente, que confunde objetos."
    ),
    "It was sent to the address of another study than its own.": (
        "Se envió a la dirección de otro estudio que el suyo."
    ),
    "Look at its header. Release files it under the study that it names itself; correct the sender.": (
        "Revise su cabecera. Liberar lo archiva en el estudio que él mismo nombra; corrija el remitente."
    ),
    "Its series is known here as one of another study.": "Su serie se conoce aquí como de otro estudio.",
    (
        "Correct it at the sender and send it again, then dismiss this. If the other study was "
        "wrong and is forgotten by now, Release takes it in."
    ): (
        "Corríjalo en el remitente y envíelo de nuevo; después descarte esto. Si el otro estudio "
        "era erróneo y ya se olvidó, Liberar lo acepta."
    ),
    "The same instance is kept under another study or series.": (
        "La misma instancia se conserva en otro estudio o serie."
    ),
    (
        "Find out at the sender which of the two is right. If it is this one, forget the study "
        "here and send it again; else dismiss this."
    ): (
        "Averigüe en el remitente cuál de los dos es correcto. Si es este, olvide aquí el estudio"
        " y envíelo de nuevo; si no, descarte esto."
    ),
    "The same instance is kept with another geometry.": "La misma instancia se conserva con otra geometría.",
    "The same instance is kept with other pixels.": "La misma instancia se conserva con otros píxeles.",
    "It has the UID of a result that was made here, and other pixels: somebody edited it in place.": (
        "Tiene el UID de un resultado generado aquí, y otros píxeles: alguien lo editó sin cambiar el UID."
    ),
    "Save the edited one as a new object and send that; then dismiss this.": (
        "Guarde el editado como objeto nuevo y envíelo; después descarte esto."
    ),
    "The rejection note cannot be understood.": "No se puede interpretar la nota de rechazo.",
    "The note rejects instances of another study than its own.": (
        "La nota rechaza instancias de otro estudio que el suyo."
    ),
    "The note rejects images of another patient.": "La nota rechaza imágenes de otro paciente.",
    "It lay in quarantine when the ledger was made anew; why is not known any more.": (
        "Estaba en cuarentena cuando el registro se reconstruyó; ya no se sabe por qué."
    ),
    "Look at its header. Release takes it in if it is sound, and says why where it is not.": (
        "Revise su cabecera. Liberar lo acepta si es correcto, y dice por qué si no lo es."
    ),
    "It was put aside by another version of this gateway.": "Lo apartó otra versión de este gateway.",
    "Look at its header, then send it again, or dismiss it.": (
        "Revise su cabecera y después envíelo de nuevo o descártelo."
    ),
}
